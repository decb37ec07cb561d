#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "osculant/comm/communicator.h"
#include "osculant/curvature/layer_sample.h"
#include "osculant/linop/kronecker.h"

namespace osculant {

// A (x) G of each layer with A a mean over examples (weighted, where they are) and G a sum that holds the
// scale of the objective. Where a weight has several uses they count as positions; where it is used in both
// orientations, as in an embedding tied to the last layer, the product has the partial traces of the sum. A
// normalisation layer has an exact block for each unit, its weight and bias; a bias alone its exact block; an
// embedding the words' frequencies as A; a parameter that no layer tells a diagonal, as A with G = 1.
class KroneckerFactors {
 public:
  // A side with more rows than `max_dimension` is taken for block diagonal, of equal parts not above it.
  // Throws Error(memory) where all factors together would exceed the budget.
  KroneckerFactors(WeightSharing sharing, int64_t max_dimension, int64_t memory_budget);

  // A of the weight at an offset in theta is known and need not be made. Before samples are added.
  void set_inputs(int64_t offset, BlockDiagonal A);

  void add(const LayerSample& sample);
  // Adds up what the processes were given, each its own examples (LayerSampler), in one message; once.
  void share(const Communicator& processes);

  // Of all that was added, divided by the terms' denominators.
  std::vector<KroneckerBlock> blocks() const;
  const std::vector<UntappedParameter>& untapped() const { return untapped_; }

  // Offsets of weights that meet the data alone, whose A is a mean over data whatever theta.
  std::vector<int64_t> of_data() const;

 private:
  struct Sums {
    BlockDiagonal inputs, outputs;  // lower triangles
    double mass = 0;                // of the examples in `inputs`
  };
  struct Slot {
    std::string name;
    MatrixPlace place;
    bool of_data = true;  // all uses so far
    // One for each term and orientation; those of the other have inputs and outputs exchanged.
    std::map<std::pair<size_t, bool>, Sums> sums;
  };
  Slot& slot_of(const std::string& name, const MatrixPlace& place);
  void add(const LayerSample& sample, const UseSample& use);
  BlockDiagonal outputs_of(const Slot& slot) const;
  bool covers(const MatrixPlace& place) const;  // a layer has a part of it
  BlockDiagonal zeros(const std::string& name, int64_t groups, int64_t size,
                      const at::TensorOptions& options);

  WeightSharing sharing_;
  int64_t max_dimension_;
  int64_t memory_budget_;
  int64_t bytes_ = 0;
  std::vector<Slot> slots_;
  std::map<int64_t, size_t> by_offset_;
  std::map<int64_t, BlockDiagonal> known_;
  std::map<size_t, double> denominators_;  // by term
  struct Diagonal {
    std::string name;
    std::map<size_t, Tensor> sums;  // by term
  };
  std::map<int64_t, Diagonal> diagonals_;  // by offset
  std::vector<UntappedParameter> untapped_;
};

// EKFAC (George, Laurent, Bouthillier, Ballas & Vincent 2018): in given eigenbases of a layer, the
// eigenvalues are the diagonal of the layer's own block, the sum over examples and columns of (Q_G' (sum over
// t of d a') Q_A)^2 entry by entry, in place of the products of the factors' eigenvalues. This is the best
// that can be done in these bases, in the norm of Frobenius.
class EigenvalueSums {
 public:
  explicit EigenvalueSums(std::vector<EigenBlock> bases);  // their values are not looked at

  void add(const LayerSample& sample);
  void share(const Communicator& processes);  // as KroneckerFactors
  std::vector<EigenBlock> blocks() const;     // with the values of all that was added

 private:
  std::vector<EigenBlock> bases_;
  std::map<int64_t, size_t> by_offset_;
  std::vector<std::map<size_t, Tensor>> sums_;  // of each block, by term
  std::map<size_t, double> denominators_;
};

}  // namespace osculant
