#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "osculant/comm/communicator.h"
#include "osculant/diagnose/gradient_flow.h"
#include "osculant/optim/options.h"
#include "osculant/study/advice_record.h"
#include "osculant/study/spectrum_record.h"
#include "osculant/study/through_record.h"
#include "osculant/study/watch_record.h"

namespace osculant {

// What a command found, as result.json has it (docs/result-format.md). Numbers that are not known are NaN
// here and null there; parts that a command does not produce are empty here and absent there.

struct LayerRecord {
  std::string name;
  std::vector<int64_t> shape;
  int64_t parameters = 0;
};

struct ModelRecord {
  std::string kind;
  int64_t parameters = 0;
  int64_t frozen = 0;
  std::vector<LayerRecord> layers;
};

struct DataRecord {
  int64_t examples = 0;
  int64_t test_examples = 0;
};

// A number for each layer, in theta's order.
using NamedValues = std::vector<std::pair<std::string, double>>;

struct ObjectiveRecord {
  double value = 0;
  double gradient_norm = 0;
  NamedValues gradient_norms;  // by layer
};

struct StopRecord {
  std::string reason;   // one word
  std::string message;  // with the numbers
};

// Whether the Hessian at the end is positive semidefinite to a tolerance.
struct CurvatureRecord {
  std::string verdict;             // "certified", "not_certified", "unknown"
  double smallest = 0;             // the lowest curvature seen: an upper bound on the smallest eigenvalue
  double tolerance = 0;            // what was asked: is the smallest eigenvalue >= -tolerance?
  double failure_probability = 1;  // bound, that it is below all the same
  int64_t products = 0;            // Hessian products that it took
  int64_t steps = 0;               // made along negative curvature during the run
  std::string message;             // the verdict in words
};

struct TrainingRecord {
  std::string method;
  StopRecord stop;
  std::optional<bool> reached;  // empty without a target
  int64_t steps = 0;
  double epochs = 0;
  double initial_loss = 0;
  double loss = 0;  // the whole objective without regularisers, at the end
  double objective = 0;
  std::map<std::string, double> metrics;
  std::map<std::string, double> test;  // "loss" and the metrics
  std::optional<CurvatureRecord> curvature;
  std::optional<WatchRecord> watch;
};

// A method, with options and a seed, on its own copy of the problem.
struct ContestantRecord {
  struct Point {
    int64_t step = 0;
    double epochs = 0, seconds = 0, gradient_equivalents = 0;  // of steps, until the evaluation
    std::map<std::string, double> values;                      // "loss", "accuracy", "test.loss", ...
  };
  std::string method;  // as it was asked for: "adam", "sgd:learning_rate=0.1"
  int64_t seed = 0;
  OptionMap options;   // given, or found by tuning; the others are the method's defaults
  std::string status;  // reached, missed, done (without a target), failed, interrupted
  StopRecord stop;     // of a method that broke down: "failure", and what it said
  std::optional<bool> reached;
  int64_t steps = 0;
  double epochs = 0, seconds = 0, gradient_equivalents = 0;  // of steps, to the target or to the end
  std::map<std::string, double> final;                       // the last evaluation
  std::vector<Point> trajectory;
};

// Over seeds. Infinity stands for what was never reached, and is larger than any number.
struct SpreadRecord {
  double median = 0, low = 0, high = 0;
};

struct VerdictRecord {
  std::string method;
  std::string tuned;  // "learning_rate = 0.01", or why nothing was
  int64_t runs = 0, reached = 0, failed = 0;
  SpreadRecord seconds, gradient_equivalents;  // to the target; without one, all of it
  SpreadRecord value;  // of the metric at the end; failed runs count as infinitely bad
};

struct ComparisonRecord {
  std::string budget;  // of each contestant
  std::string target;  // empty: none
  std::string metric;  // what counts: the target's, else the loss
  bool higher_is_better = false;
  int64_t seeds = 0, tune = 0;
  double tuning_share = 0;               // of the budget, for each tuning trial
  std::vector<ContestantRecord> runs;    // the race
  std::vector<ContestantRecord> trials;  // the tuning before it
  std::vector<VerdictRecord> verdict;    // best first
  std::string words;                     // the verdict in a sentence
};

struct EvaluationRecord {
  std::string parameters;  // the file
  double loss = 0;
  std::map<std::string, double> metrics;
  std::map<std::string, double> test;
};

// A use of a layer in the forward pass, or a parameter that no layer tells of.
struct LayerCheck {
  std::string name;                // "features.0"; of the parameter where it is not covered
  std::string kind = {};           // "convolution", ...; "" where it is not covered
  bool covered = false;            // closed forms by layer hold (docs/layers.md)
  std::string reason = {};         // why not
  bool second_derivative = false;  // of the loss in its weight
  double flops = 0;                // multiplications and additions of a forward pass, an example
  int64_t bytes = 0;               // of its output, an example
};

struct CheckRecord {
  std::vector<std::string> inputs;  // "[512, 784] float32"
  std::vector<std::string> targets;
  std::vector<std::string> outputs;
  bool deterministic = true;  // the same inputs twice give the same outputs
  bool independent = true;    // outputs of an example do not depend on the others in its batch
  bool second_derivatives = false;
  std::string second_derivatives_message;  // why not, naming the operation
  std::vector<std::string> unused;         // parameters the objective does not depend on
  std::vector<std::string> zero_gradient;  // on the examples tried
  std::vector<LayerCheck> layers;          // in the order of the forward pass
};

// Work foreseen, before it is done.
struct PlanRecord {
  double gradient_equivalents = 0;
  double seconds = 0;  // from one measured batch; NaN unknown
  int64_t bytes = 0;   // at the peak, beyond what the process holds already
  int64_t budget = 0;  // bytes allowed
  std::string words;   // what the work is
};

struct CostRecord {
  double gradient_equivalents = 0;
  double seconds = 0;
  int64_t peak_bytes = 0;
};

struct Result {
  std::string command;
  int processes = 1;            // that shared the work
  Traffic traffic;              // of the first of them
  std::string status = "done";  // done, interrupted, failed
  ModelRecord model;
  DataRecord data;
  std::optional<ObjectiveRecord> objective;
  std::vector<std::pair<std::string, SpectrumRecord>> spectrum;  // by matrix
  std::optional<GradientFlow> gradient_flow;
  std::optional<TrainingRecord> training;
  std::optional<ComparisonRecord> comparison;
  std::optional<EvaluationRecord> evaluation;
  std::optional<CheckRecord> check;
  std::optional<AdviceRecord> advice;
  std::optional<ThroughRecord> through;
  std::optional<PlanRecord> plan;
  CostRecord cost;
  std::vector<std::string> notes;  // what a reader of the numbers has to know
};

std::string to_json(const Result& result);

// What a result.json holds that an interrupted analysis goes on from; empty where the file is not there or
// another command wrote it. Throws Error(data) for a damaged one.
struct PartialAnalysis {
  std::vector<std::pair<std::string, SpectrumRecord>> spectrum;
  double gradient_equivalents = 0, seconds = 0;
};
PartialAnalysis partial_analysis(const std::string& path);

// Tables, and a line each of what they mean, for a person.
std::string to_text(const Result& result);
std::string to_text(const PlanRecord& plan);  // one line

// The library's version, "0.1.0".
std::string version();

}  // namespace osculant
