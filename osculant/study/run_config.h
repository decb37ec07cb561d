#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "osculant/optim/options.h"

namespace osculant {

struct ModelConfig {
  std::string kind;  // exported, mlp, autoencoder, cnn, resnet, transformer
  std::string path;  // of an exported program
  std::vector<int64_t> widths;
  std::vector<int64_t> input;                                        // cnn, resnet: channels, height, width
  std::vector<int64_t> filters;                                      // cnn, resnet
  std::optional<int64_t> hidden, outputs;                            // cnn; outputs: resnet too
  std::optional<bool> batch_norm;                                    // cnn
  std::optional<int64_t> blocks;                                     // resnet
  std::string norm;                                                  // resnet
  std::optional<int64_t> vocabulary, context, width, layers, heads;  // transformer
  std::string activation;
  std::string initialization;
  std::optional<double> weight_variance, bias_variance;
  std::optional<bool> bias;
  std::vector<std::string> freeze;
  std::string parameters;  // safetensors to start from
  std::string mode;        // eval, train; empty: eval where curvature is measured, train where it is trained
};

struct DataConfig {
  std::string kind;  // safetensors, csv, fashion_mnist, idx, text, teacher, mixture, sine, sinc, parity
  std::string path;
  std::string labels;                       // idx: the file of labels
  std::vector<std::string> target, ignore;  // csv: columns
  std::optional<bool> classes;              // csv
  std::optional<int64_t> context, stride;   // text
  std::string test;                         // "split", or a file
  std::string test_labels;                  // idx: the test file's labels
  std::optional<double> scale;
  std::optional<bool> normalize;
  std::optional<int64_t> average_pool;
  std::optional<bool> flatten;
  std::optional<bool> autoencode;
  std::optional<bool> shuffle;
  std::optional<int64_t> take;
  std::optional<int64_t> test_take;
  std::optional<double> test_share;  // of the examples, with test = "split"
  // Synthetic data.
  std::optional<int64_t> examples, inputs, outputs, hidden;
  std::optional<double> noise, separation;
};

struct LossConfig {
  std::string kind;
  std::string outputs;  // mean, sum
  std::optional<double> label_smoothing;
  std::vector<double> class_weights;
  std::optional<double> delta;
};

struct TrainConfig {
  std::string method;
  std::string batch_size;  // a number of examples, or "full"
  std::optional<int64_t> steps;
  std::optional<int64_t> epochs;
  std::string budget;  // "60s", "500ge"
  std::string target;  // "test.accuracy>=0.88"
  std::optional<double> gradient_norm;
  std::optional<double> require_psd;  // tolerance
  std::optional<int64_t> evaluate_every;
  std::optional<int64_t> checkpoint_every;
  std::optional<int64_t> keep_checkpoints;
  std::optional<bool> watch;
  OptionMap options;  // of the method
  std::optional<double> weight_decay;
  std::vector<std::string> weight_decays;   // "*.bias=0": of parameters by name
  std::vector<std::string> regularizers;    // "gradient_norm:strength=0.01", "trace:parameters=*.weight"
  std::vector<std::string> learning_rates;  // "*.bias=2": times the method's
  std::optional<double> clip_gradient_norm;
  std::optional<double> sharpness_radius;
  std::optional<double> averaging;
  std::string schedule;  // constant, cosine, linear, step
  std::optional<int64_t> warmup, schedule_every;
  std::optional<double> schedule_factor, schedule_final;
};

struct CompareConfig {
  std::vector<std::string> methods;  // "adam", "sgd:learning_rate=0.1", "hessian_free:batch_size=full"
  std::optional<int64_t> seeds;
  std::optional<int64_t> tune;  // trials for each method
  std::optional<double> tuning_share;
};

struct AdviseConfig {
  std::optional<bool> race;
  std::optional<int64_t> candidates;  // methods in the race
  std::optional<bool> write_init;
};

struct AnalyzeConfig {
  std::optional<int64_t> eigenvalues;
  std::vector<std::string> matrix;
  std::string batch_size;
  std::optional<double> tolerance;
  std::optional<int64_t> trace_probes;
  std::optional<bool> density, rank;
  std::optional<int64_t> quadrature_steps, quadrature_probes;
  std::optional<double> rank_threshold;
  std::optional<bool> rank_layers;
  std::optional<bool> sparsity;
  std::optional<int64_t> sparsity_products, sparsity_columns;
  std::optional<double> sparsity_threshold;
  std::optional<int64_t> low_rank;
  std::optional<double> low_rank_error;
  std::optional<bool> gradient_flow;
  std::optional<bool> full;  // all of the above that is not given otherwise
  std::optional<int64_t> check_products;
  std::string through;     // checkpoints of a training, each of which is measured
  std::string start_from;  // results of another analysis, or a file of eigenpairs
  std::optional<bool> keep_eigenpairs;
  std::optional<int64_t> fisher_draws;
  std::optional<bool> alignment, sampling_error;
  std::optional<int64_t> slices, slice_planes, slice_points, plane_points;
  std::optional<double> slice_radius;
  std::string slice_normalization;  // none, layer, filter
};

struct RunSettings {
  std::optional<int64_t> seed;
  std::string dtype;
  std::string device;
  std::optional<int64_t> threads;
  std::string memory_budget;  // "half", "2GiB", a number of bytes
  std::string out;
};

// What a run is told, from a run file (TOML), flags and `--set`, the later winning over the earlier. Absent
// values are empty; whoever uses one chooses the default and writes it back, so that to_toml() gives what was
// really used.
struct RunConfig {
  ModelConfig model;
  DataConfig data;
  LossConfig loss;
  std::vector<std::string> metrics;
  TrainConfig train;
  CompareConfig compare;
  AnalyzeConfig analyze;
  AdviseConfig advise;
  RunSettings run;

  // Reads a run file over what is here. Unknown keys, wrong types and values out of range throw Error(usage)
  // that names file and line, the value, what was expected, and for an unknown key the nearest known one.
  void read_file(const std::string& path);
  void read_text(const std::string& text, const std::string& name);  // `name` stands for the file in messages

  // key is "train.steps" or, for a method's options, "train.options.NAME"; value is TOML, with quotes and
  // brackets left out where the key's type makes clear what is meant. `origin` names the flag in messages.
  void set(const std::string& key, const std::string& value, const std::string& origin);
  void set_assignment(const std::string& assignment);  // "train.method=adam", as --set has it

  // "run.toml:12: train.steps" where the run file set it, else the flag, else the key alone: for messages of
  // checks made later.
  std::string origin(const std::string& key) const;

  // Of everything random; 0 where the run says none.
  uint64_t seed() const { return static_cast<uint64_t>(run.seed.value_or(0)); }

  std::string to_toml() const;
  std::map<std::string, std::string> values() const;  // key -> TOML, for every key that has a value

  // File names made absolute, so that the run file recorded in a result directory means the same anywhere.
  void make_paths_absolute();

 private:
  std::map<std::string, std::string> origins_;
};

// The run file `osculant init` writes: every key with a comment, those set in `config` live, the others
// commented out with an example.
std::string commented_run_file(const RunConfig& config);

}  // namespace osculant
