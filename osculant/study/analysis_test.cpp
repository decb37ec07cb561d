#include "osculant/study/analysis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/testing.h"
#include "osculant/study/spectrum_fields.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// 821 parameters: beyond what is formed whole.
RunConfig configuration(const std::string& out) {
  RunConfig config;
  config.read_text(R"(
    [model]
    kind = "mlp"
    widths = [10, 40, 9, 2]
    [data]
    kind = "teacher"
    inputs = 10
    outputs = 2
    examples = 64
    [loss]
    kind = "mse"
    [analyze]
    eigenvalues = 3
    trace_probes = 20
    rank = true
    density = true
    sparsity = true
    sparsity_products = 40
    sparsity_columns = 9
    low_rank = 3
    quadrature_steps = 12
    quadrature_probes = 3
    matrix = ["hessian", "gauss_newton"]
    [run]
    dtype = "float64"
    seed = 3
    threads = 1
  )",
                   "test");
  config.run.out = out;
  return config;
}

struct Folder {
  std::string path = (fs::temp_directory_path() / ("osculant-analysis-" + std::to_string(getpid()))).string();
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

Result run(const std::string& path, Existing existing, const ShowProgress& show) {
  RunConfig config = configuration(path);
  Problem problem = load_problem(config);
  plan_analysis(problem, config);
  ResultDirectory folder(path, existing);
  return analyze(problem, config, folder, existing == Existing::resume, show);
}

Json spectra(const Result& result) {
  Json record = Json::parse(to_json(result))["spectrum"];
  for (auto& [name, spectrum] : record.items()) spectrum.erase("products");
  return record;
}

TEST(Analysis, GoesOnAfterAnInterruptionWithWhatIsMissing) {
  Folder whole, parts;
  parts.path += "-parts";
  Result once = run(whole.path, Existing::refuse, [](const std::string&) {});
  EXPECT_EQ(once.status, "done");
  EXPECT_FALSE(fs::exists(whole.path + "/eigenpairs"));

  // Interrupted where the second part of a session begins, over and over.
  auto part_of = [](const std::string& line) {
    std::string title = line.substr(0, line.find(':'));
    for (const char* part : {"eigenvalues", "trace", "low rank", "rank", "alone", "density", "sparsity"})
      if (line.find(part) != std::string::npos) return title + part;
    return title;
  };
  std::vector<std::string> begun;
  Result last;
  do {
    ASSERT_LT(begun.size(), 18u);
    clear_interrupt();
    std::string first;
    last = run(parts.path, begun.empty() ? Existing::refuse : Existing::resume, [&](const std::string& line) {
      if (first.empty()) begun.push_back(first = part_of(line));
      if (part_of(line) != first) request_interrupt(2);
    });
    ResultDirectory(parts.path, Existing::resume).write("result.json", to_json(last));
  } while (last.status != "done");
  clear_interrupt();
  std::vector<std::string> expected;
  for (const char* title : {"Hessian", "Gauss-Newton matrix"})
    for (const char* part : {"eigenvalues", "trace", "rank", "alone", "density", "sparsity", "low rank"})
      expected.push_back(std::string(title) + part);
  EXPECT_EQ(begun, expected);
  EXPECT_EQ(spectra(last), spectra(once));
  EXPECT_FALSE(fs::exists(parts.path + "/eigenpairs"));
}

TEST(Analysis, ProgressCountsProductsAndSaysWhatIsLeft) {
  Folder folder;
  std::vector<std::string> lines;
  run(folder.path, Existing::refuse, [&](const std::string& line) { lines.push_back(line); });
  ASSERT_GT(lines.size(), 100u);
  EXPECT_THAT(lines.back(), HasSubstr("Gauss-Newton matrix: product "));
  EXPECT_THAT(lines.back(), HasSubstr(", low rank; about "));
  EXPECT_THAT(lines.back(), HasSubstr(" left"));
}

TEST(SpectrumFields, ComeBackAsTheyWere) {
  SpectrumRecord record;
  record.largest = {{3, 0.5, 0.25}};
  record.converged = true;
  record.stop = "largest residual";
  record.rank.emplace().numerical = {{7, 5, 9}, 1e-5};
  record.rank->rank_one = "no";
  record.density.emplace().grid = {0, 1, std::numeric_limits<double>::quiet_NaN()};
  record.rank->layers.emplace_back().name = "0";
  record.sparsity.emplace().norms = {{{1, 0.5, 2}, {0, 0, 0}}, {{0, 0, 0}, {3, 3, 3}}};
  record.low_rank.emplace().methods = {
      {"svd", {{1, 1, 1}}, LowRankRecord::Rank{2, std::nullopt}, "more than 1", "", 4},
      {"qr", {}, std::nullopt, "unknown", "not formed", 0}};
  record.frobenius = IntervalRecord{1, 0, std::numeric_limits<double>::infinity()};
  record.finished = {"eigenvalues"};
  Json json = Json::parse(json_from(record).dump());
  EXPECT_TRUE(json["frobenius"]["high"].is_null());
  EXPECT_TRUE(json["rank"]["upper_bound"].is_null());
  EXPECT_FALSE(json.contains("trace"));
  EXPECT_FALSE(json.contains("layer_norms"));
  EXPECT_TRUE(json["low_rank"]["methods"][0]["rank"]["high"].is_null());
  EXPECT_FALSE(json["low_rank"]["methods"][1].contains("rank"));
  auto back = record_from<SpectrumRecord>(json);
  EXPECT_EQ(json_from(back).dump(), json.dump());
  EXPECT_TRUE(std::isnan(back.frobenius->high));
  EXPECT_FALSE(back.rank->upper_bound);
  EXPECT_EQ(back.sparsity->norms[0][0].high, 2);
  EXPECT_EQ(back.low_rank->methods[0].rank->low, 2);
  EXPECT_EQ(back.rank->numerical.threshold, 1e-5);
}

TEST(SpectrumFields, OfTheLandscapeComeBackAsTheyWere) {
  double nan = std::numeric_limits<double>::quiet_NaN();
  SpectrumRecord record;
  auto& alignment = record.alignment.emplace();
  alignment.largest = {{{0.5, nan, nan}}, {{0.25, 0.2, 0.3}}};
  alignment.gradient = {3, nan};
  auto& slices = record.slices.emplace();
  slices.lines.push_back({"largest 1", 1, 2, 3, 0.5, {-3, 0, 3}, {1, nan, 2}, {1, 0, 2}});
  slices.planes.push_back({"filter", 7, 1, {-1, 1}, {{1, 2}, {3, nan}}, {{1, 2}, {3, 4}}});
  auto& sampling = record.sampling_error.emplace();
  sampling.examples = 80;
  sampling.trace.sizes = {{2, 1.5, 0.1, {1.4, 1.6}}};
  sampling.trace.population = {1, 0.5, 1.5};
  Json json = Json::parse(json_from(record).dump());
  EXPECT_TRUE(json["slices"]["planes"][0]["values"][1][1].is_null());
  auto back = record_from<SpectrumRecord>(json);
  EXPECT_EQ(json_from(back).dump(), json.dump());
  EXPECT_TRUE(std::isnan(back.alignment->gradient.rounding));
  EXPECT_EQ(back.slices->planes[0].model[1][1], 4);
  EXPECT_EQ(back.sampling_error->trace.sizes[0].values, (std::vector<double>{1.4, 1.6}));
  EXPECT_THAT(to_text(*back.alignment), HasSubstr("rounding unknown"));
  EXPECT_THAT(to_text(*back.slices), HasSubstr("normalised by filter, seed 7"));
  EXPECT_THAT(to_text(*back.sampling_error), HasSubstr("1 (0.5 to 1.5)"));
}

Problem problem_with(torch::nn::Sequential network) {
  torch::manual_seed(2);
  Dataset data(at::randn({32, 4}), at::randn({32, 2}));
  network->to(at::kFloat);
  Problem problem{Model(network), MeanSquaredError(), data, {}, {}, int64_t{1} << 30};
  problem.model.train(true);
  return problem;
}

TEST(Analysis, RefusesARandomNetworkAndNotesACoupledOne) {
  RunConfig config;
  Problem dropout = problem_with(
      torch::nn::Sequential(torch::nn::Linear(4, 9), torch::nn::Dropout(0.5), torch::nn::Linear(9, 2)));
  try {
    plan_analysis(dropout, config);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("Dropout or noise"));
  }
  Problem normalised = problem_with(
      torch::nn::Sequential(torch::nn::Linear(4, 9), torch::nn::BatchNorm1d(9), torch::nn::Linear(9, 2)));
  plan_analysis(normalised, config);
  Folder out;
  ResultDirectory folder(out.path, Existing::refuse);
  Result result = analyze(normalised, config, folder, false, [](const std::string&) {});
  ASSERT_EQ(result.notes.size(), 1u);
  EXPECT_THAT(to_text(result), HasSubstr("Note: the outputs of an example depend on the others"));
  EXPECT_EQ(Json::parse(to_json(result))["notes"][0], result.notes[0]);
}

TEST(Analysis, RefusesADamagedPartialResult) {
  Folder folder;
  fs::create_directories(folder.path);
  ResultDirectory directory(folder.path, Existing::resume);
  directory.write("result.json", R"({"command": "analyze", "spectrum": {"hessian": {"largest": 3}}})");
  EXPECT_THROW(partial_analysis(directory.file("result.json")), Error);
  directory.write("result.json",
                  R"({"schema": 1, "command": "analyze", "cost": {"gradient_equivalents": 1, "seconds": 1},
                                     "spectrum": {"hessian": {"products": 1e30}}})");
  EXPECT_THROW(partial_analysis(directory.file("result.json")), Error);
  EXPECT_TRUE(partial_analysis(directory.file("absent.json")).spectrum.empty());
}

}  // namespace
}  // namespace osculant
