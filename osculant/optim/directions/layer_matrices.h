#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "osculant/tensor/parameter_layout.h"

namespace osculant {

// The layers' matrices of one shape, for batched products: a step of small layers is bound by the number of
// operations. A parameter of two dimensions is a matrix, one of more (a convolution's kernel [out, in, kh,
// kw]) is [out, in kh kw], one of fewer is [n, 1].
class MatrixGroup {
 public:
  MatrixGroup(int64_t rows, int64_t columns, std::vector<int64_t> offsets);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t count() const { return static_cast<int64_t>(offsets_.size()); }

  // [count, rows, columns] from a flat vector [n]: a view where the matrices lie at even distances, else a
  // copy.
  Tensor of(const Tensor& flat) const;
  void put(Tensor& flat, const Tensor& values) const;

 private:
  Tensor view(const Tensor& flat) const;

  int64_t rows_, columns_;
  std::vector<int64_t> offsets_;  // in theta, ascending
  bool even_;
  int64_t distance_;
};

// theta's parameters as groups of matrices, and what is left to methods that go entry by entry.
class LayerMatrices {
 public:
  // `chosen`: of the parameters, those that are taken as matrices of so many rows and columns.
  using Choice = std::function<bool(const Parameter& parameter, int64_t rows, int64_t columns)>;
  LayerMatrices(const ParameterLayout& layout, const Choice& chosen);

  const std::vector<MatrixGroup>& groups() const { return groups_; }
  int64_t rest() const { return rest_; }     // entries of theta in no group
  Tensor rest_of(const Tensor& flat) const;  // [rest]
  void put_rest(Tensor& flat, const Tensor& values) const;

 private:
  struct Range {
    int64_t begin, size;
  };
  std::vector<MatrixGroup> groups_;
  std::vector<Range> ranges_;  // of the rest, neighbours joined
  int64_t rest_ = 0;
};

}  // namespace osculant
