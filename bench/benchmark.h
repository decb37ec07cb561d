#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace osculant::bench {

// One piece of work, measured. Times come in units of another piece's, taken in the same round, so that a
// machine that slows down for a while slows both.
struct Work {
  std::string problem, name;
  std::function<void()> run = {};
  std::optional<double> bar = {};  // what the median should not exceed
  double pieces = 1;               // that a run makes: times are of one
};

struct Row {
  std::string problem, work;
  double median, low, high;  // in units of the reference; over rounds
  std::vector<double> rounds;
  std::optional<double> bar;
};

// The median and the extremes of what the rounds of `work` took.
Row row_of(const Work& work, std::vector<double> rounds);

// Runs everything once to warm up, then `rounds` times in turn: reference, work, reference, work, ... Each
// time is divided by the mean of the reference's before and after it.
std::vector<Row> measure_interleaved(const std::function<void()>& reference, const std::vector<Work>& works,
                                     int64_t rounds);

struct Record {
  std::string benchmark, unit;
  std::vector<Row> rows;
  bool wide = false;  // a table with a line a problem and a column a work
};

// As bench/report.py reads it, with versions and machine.
void write(const Record& record, const std::string& path);

// `--out FILE`, `--rounds N`, `--first SEED` and `--only NAME;NAME`; ends the program with a message on
// anything else.
struct Arguments {
  std::string out;
  int64_t rounds = 1;
  int64_t first = 0;              // seed of the first round
  std::vector<std::string> only;  // of what is measured; empty: all
  bool wants(const std::string& name) const;
};
Arguments parse_arguments(int argc, char** argv, int64_t default_rounds);

}  // namespace osculant::bench
