#include "bench/benchmark.h"

#include <torch/version.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "osculant/base/stopwatch.h"

namespace osculant::bench {
namespace {

double seconds_of(const std::function<void()>& f) {
  Stopwatch watch;
  f();
  return watch.seconds();
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

[[noreturn]] void usage(const char* program) {
  std::cerr << "usage: " << program << " --out FILE [--rounds N] [--first SEED] [--only NAME;NAME]\n";
  std::exit(2);
}

}  // namespace

Row row_of(const Work& work, std::vector<double> rounds) {
  auto sorted = rounds;
  std::sort(sorted.begin(), sorted.end());
  return {work.problem,      work.name, sorted[sorted.size() / 2], sorted.front(), sorted.back(),
          std::move(rounds), work.bar};
}

std::vector<Row> measure_interleaved(const std::function<void()>& reference, const std::vector<Work>& works,
                                     int64_t rounds) {
  for (const auto& work : works) work.run();
  reference();
  std::vector<std::vector<double>> ratios(works.size());
  double before = seconds_of(reference);
  for (int64_t round = 0; round < rounds; ++round)
    for (size_t i = 0; i < works.size(); ++i) {
      double time = seconds_of(works[i].run);
      double after = seconds_of(reference);
      ratios[i].push_back(2 * time / (before + after) / works[i].pieces);
      before = after;
    }
  std::vector<Row> rows;
  for (size_t i = 0; i < works.size(); ++i) rows.push_back(row_of(works[i], std::move(ratios[i])));
  return rows;
}

void write(const Record& record, const std::string& path) {
  auto rows = nlohmann::json::array();
  for (const auto& row : record.rows) {
    rows.push_back({{"problem", row.problem},
                    {"work", row.work},
                    {"by", "osculant"},
                    {"median", row.median},
                    {"low", row.low},
                    {"high", row.high},
                    {"rounds", row.rounds.size()},
                    {"values", row.rounds}});
    if (row.bar) rows.back()["bar"] = *row.bar;
  }
  nlohmann::json json = {
      {"benchmark", record.benchmark},
      {"unit", record.unit},
      {"wide", record.wide},
      {"machine", {{"processor", processor()}, {"cores", std::thread::hardware_concurrency()}}},
      {"versions", {{"libtorch", TORCH_VERSION}}},
      {"rows", rows}};
  std::ofstream file(path);
  file << json.dump(1) << '\n';
  if (!file.flush()) {
    std::cerr << path << ": cannot be written\n";
    std::exit(1);
  }
}

Arguments parse_arguments(int argc, char** argv, int64_t default_rounds) {
  Arguments arguments;
  arguments.rounds = default_rounds;
  for (int i = 1; i < argc; i += 2) {
    std::string name = argv[i];
    if (i + 1 == argc) usage(argv[0]);
    if (name == "--out") {
      arguments.out = argv[i + 1];
    } else if (name == "--rounds") {
      arguments.rounds = std::atoll(argv[i + 1]);
    } else if (name == "--first") {
      arguments.first = std::atoll(argv[i + 1]);
    } else if (name == "--only") {
      std::stringstream names(argv[i + 1]);
      for (std::string one; std::getline(names, one, ';');) arguments.only.push_back(one);
    } else {
      usage(argv[0]);
    }
  }
  if (arguments.out.empty() || arguments.rounds < 1) usage(argv[0]);
  return arguments;
}

bool Arguments::wants(const std::string& name) const {
  return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
}

}  // namespace osculant::bench
