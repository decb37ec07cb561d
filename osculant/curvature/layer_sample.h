#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "osculant/curvature/kfac_choices.h"
#include "osculant/linop/kronecker.h"
#include "osculant/objective/layer_factors.h"

namespace osculant {

class Archive;

struct LayerSampleOptions {
  ScoreGradients gradients = ScoreGradients::automatic;
  int64_t draws = 1;     // sampled: targets of each example
  uint64_t seed = 0;     // sampled
  bool untapped = true;  // diagonals of parameters that no layer tells, a pass back to them
  void check() const;
};

// One use of a layer's weight in a batch of N examples at T positions: M [groups, rows, columns] at `place`
// meets a_it and leaves d_itc, so that the columns of the matrix's root are sum over t of d_itc a_it'.
struct UseSample {
  std::string name;  // of the parameter
  LayerKind kind = LayerKind::linear;
  MatrixPlace place;
  Tensor inputs;       // a [N, T, groups, columns], with the bias's 1; indices [N, T] of an embedding
  Tensor derivatives;  // d [C, N, T, groups, rows]
  // Whether a is the data's, whatever theta: the layer comes first.
  bool of_data = false;

  int64_t examples() const { return derivatives.size(1); }
  int64_t positions() const { return derivatives.size(2); }
};

// Of a parameter, an estimate without bias of the diagonal of the same sum, by random signs.
struct DiagonalSample {
  std::string name;
  int64_t offset = 0;
  Tensor values;  // flat
};

// What a batch, or a process's share of it, says about the curvature of layers. Its part in the matrix,
// before it is divided by the term's denominator, is the sum over examples i and columns c of share * w_i
// times those columns' outer products.
struct LayerSample {
  size_t term = 0;
  std::vector<UseSample> uses;
  Tensor weights;          // w [N]; undefined where all are 1
  double share = 1;        // the term's weight / draws; 0 where another process counts these examples
  double denominator = 1;  // of the batch, or of the process's share
  std::vector<UntappedParameter> untapped;
  std::vector<DiagonalSample> diagonals;  // of the untapped parameters, if asked for
};

// Runs batches forward and back. Keep one for batches that differ in their examples alone: which layers a
// batch has is verified by the first of a size, on some of its examples.
class LayerSampler {
 public:
  explicit LayerSampler(const LayerSampleOptions& options);

  // All batches of an objective, one after another; of each the examples that are this process's, whose sums
  // the caller adds up over processes (KroneckerFactors::share). Drawn is the same whatever their number. A
  // batch that cannot be cut is looked at by every process and counted by the last. Throws Error(usage) for
  // an objective without outputs, and where its loss has no such gradients.
  void run(const Objective& objective, RandomStream& random,
           const std::function<void(const LayerSample&)>& visit);

  // What verification has found, so that a run which resumes does not repeat it.
  void save(Archive& archive) const;
  void load(const Archive& archive);

 private:
  // What verification has found.
  struct Form {
    std::vector<int64_t> strides;  // of the uses
    std::vector<size_t> untapped;
    bool operator==(const Form&) const = default;
  };
  static Form form_of(const LayerFactors& factors);
  struct Part {
    Batch batch;
    Share share;
    bool counts;  // its examples are this process's
  };
  static Part part_of(const Objective& objective, size_t term, const Batch& batch);
  LayerFactors factors_of(const Objective& objective, size_t term, const Batch& batch, Part& part);
  LayerSample sample_of(const Objective& objective, size_t term, const Batch& batch, RandomStream& random);

  LayerSampleOptions options_;
  std::map<std::pair<size_t, int64_t>, Form> verified_;  // by term and batch size
};

}  // namespace osculant
