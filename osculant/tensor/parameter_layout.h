#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/tensor/batch.h"

namespace osculant {

// Where one parameter lies in the flat vector theta.
struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;
  int64_t size = 0;  // product of shape
};

// theta and its restoring: the bits and the epoch they belong to.
struct ParameterSnapshot {
  Tensor theta;  // [n], a copy
  int64_t epoch = 0;
};

// The trainable parameters of a model as one flat contiguous vector theta in R^n.
//
// Taking a module's parameters re-points their storage into theta, so that a parameter is a view of a slice
// and a step over all parameters is one operation. theta changes only through this class, which counts an
// epoch for each change: a view taken through `.data` does not share autograd's version counter, so nothing
// in libtorch would notice a kept graph going stale. `Linearization` compares epochs and throws.
class ParameterLayout {
 public:
  // Takes over the storage of `leaves`, in order. All must be floating point leaves of one dtype on one
  // device; throws Error(usage) naming the parameter otherwise. A tensor given twice (tied weights) is
  // refused: the caller passes each once.
  explicit ParameterLayout(std::vector<NamedTensor> leaves);
  ParameterLayout(const ParameterLayout&) = delete;
  ParameterLayout& operator=(const ParameterLayout&) = delete;

  int64_t size() const { return theta_.numel(); }  // n
  at::TensorOptions options() const { return theta_.options(); }
  at::ScalarType dtype() const { return theta_.scalar_type(); }
  at::Device device() const { return theta_.device(); }

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const std::vector<Tensor>& leaves() const { return leaves_; }  // the module's own tensors, views of theta

  // [n]. For reading: writing to it would escape the epoch.
  const Tensor& theta() const { return theta_; }

  // Names the value of theta: it grows with every change, and `restore` brings back the old one.
  int64_t epoch() const { return epoch_; }

  void assign(const Tensor& theta);                // theta <- value, [n]
  void add(const Tensor& step, double scale = 1);  // theta <- theta + scale * step, [n]

  ParameterSnapshot snapshot() const { return {theta_.clone(), epoch_}; }
  void restore(const ParameterSnapshot& snapshot);

  // Throws Error(usage) when a leaf no longer lies in theta (after `net->to(...)`, say) or was changed in
  // place by someone else since the layout last changed it.
  void check() const;

  // Tensors shaped like the parameters to one vector [n] and back (back: views of `flat`, no copy). An
  // undefined tensor stands for zeros: a parameter the function does not depend on.
  Tensor flatten(at::TensorList tensors) const;
  std::vector<Tensor> unflatten(const Tensor& flat) const;

  // flat += scale * tensors, parameter by parameter, without building a second vector.
  void accumulate(Tensor& flat, at::TensorList tensors, double scale = 1) const;

  // Positions in theta (int64, ascending) of the parameters whose name matches any of the globs. Throws
  // Error(usage) for a glob that matches nothing.
  Tensor indices(const std::vector<std::string>& globs) const;

 private:
  int64_t leaf_versions() const;

  std::vector<Parameter> parameters_;
  std::vector<Tensor> leaves_;
  Tensor theta_;
  int64_t epoch_ = 0;
  int64_t next_epoch_ = 1;
  int64_t versions_ = 0;
};

}  // namespace osculant
