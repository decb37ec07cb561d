#include "osculant/tensor/parameter_layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <unordered_map>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {

ParameterLayout::ParameterLayout(std::vector<NamedTensor> leaves) {
  if (leaves.empty()) fail_usage("model: has no trainable parameters; expected at least one");
  std::unordered_map<c10::TensorImpl*, std::string> seen;
  const Tensor& first = leaves.front().tensor;
  int64_t n = 0;
  for (const auto& [name, leaf] : leaves) {
    if (!leaf.is_floating_point())
      fail_usage(fmt::format("parameter {}: dtype {}: must be floating point", name,
                             c10::toString(leaf.scalar_type())));
    if (!leaf.is_leaf()) fail_usage(fmt::format("parameter {}: must be a leaf of the autograd graph", name));
    if (leaf.scalar_type() != first.scalar_type() || leaf.device() != first.device())
      fail_usage(fmt::format("parameter {}: is {} on {} but {} is {} on {}: all must agree", name,
                             c10::toString(leaf.scalar_type()), leaf.device().str(), leaves.front().name,
                             c10::toString(first.scalar_type()), first.device().str()));
    auto [at, fresh] = seen.emplace(leaf.unsafeGetTensorImpl(), name);
    if (!fresh) fail_usage(fmt::format("parameter {}: is the same tensor as {}", name, at->second));
    parameters_.push_back({name, leaf.sizes().vec(), n, leaf.numel()});
    n += leaf.numel();
  }
  torch::NoGradGuard no_grad;
  theta_ = at::empty({n}, first.options().requires_grad(false));
  for (size_t i = 0; i < leaves.size(); ++i) {
    auto view = theta_.narrow(0, parameters_[i].offset, parameters_[i].size).view(parameters_[i].shape);
    view.copy_(leaves[i].tensor);
    leaves[i].tensor.set_data(view);
    leaves_.push_back(leaves[i].tensor);
  }
  versions_ = leaf_versions();
}

void ParameterLayout::assign(const Tensor& theta) {
  TORCH_CHECK(theta.numel() == size(), "theta has ", size(), " entries, the new one ", theta.numel());
  torch::NoGradGuard no_grad;
  theta_.copy_(theta.view({-1}));
  epoch_ = next_epoch_++;
}

void ParameterLayout::add(const Tensor& step, double scale) {
  TORCH_CHECK(step.numel() == size(), "theta has ", size(), " entries, the step ", step.numel());
  torch::NoGradGuard no_grad;
  theta_.add_(step.view({-1}), scale);
  epoch_ = next_epoch_++;
}

void ParameterLayout::restore(const ParameterSnapshot& snapshot) {
  torch::NoGradGuard no_grad;
  theta_.copy_(snapshot.theta);
  epoch_ = snapshot.epoch;
}

int64_t ParameterLayout::leaf_versions() const {
  int64_t sum = 0;
  for (const auto& leaf : leaves_) sum += leaf._version();
  return sum;
}

void ParameterLayout::check() const {
  const auto* base = static_cast<const char*>(theta_.const_data_ptr());
  for (size_t i = 0; i < leaves_.size(); ++i) {
    const auto& p = parameters_[i];
    bool inside = leaves_[i].scalar_type() == dtype() && leaves_[i].device() == device() &&
                  leaves_[i].const_data_ptr() == base + p.offset * theta_.element_size() &&
                  leaves_[i].is_contiguous() && leaves_[i].sizes() == at::IntArrayRef(p.shape);
    if (!inside)
      fail_usage(
          fmt::format("parameter {}: no longer lies in the flat parameter vector; a module must not be "
                      "moved or cast (net->to(...)) after a Model has taken it: do so before",
                      p.name));
  }
  if (leaf_versions() != versions_)
    fail_usage(
        "parameters: changed in place from outside; change them through ParameterLayout (or take the "
        "module into a new Model)");
}

Tensor ParameterLayout::flatten(at::TensorList tensors) const {
  Tensor flat = at::zeros({size()}, options());
  accumulate(flat, tensors);
  return flat;
}

void ParameterLayout::accumulate(Tensor& flat, at::TensorList tensors, double scale) const {
  TORCH_CHECK(tensors.size() == parameters_.size(), "expected ", parameters_.size(), " tensors, got ",
              tensors.size());
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) continue;
    flat.narrow(0, parameters_[i].offset, parameters_[i].size)
        .view(parameters_[i].shape)
        .add_(tensors[i], scale);
  }
}

std::vector<Tensor> ParameterLayout::unflatten(const Tensor& flat) const {
  TORCH_CHECK(flat.numel() == size(), "expected ", size(), " entries, got ", flat.numel());
  auto contiguous = flat.contiguous();
  std::vector<Tensor> views;
  views.reserve(parameters_.size());
  for (const auto& p : parameters_) views.push_back(contiguous.narrow(0, p.offset, p.size).view(p.shape));
  return views;
}

Tensor ParameterLayout::indices(const std::vector<std::string>& globs) const {
  std::vector<Tensor> ranges;
  std::vector<bool> used(globs.size(), false);
  for (const auto& p : parameters_) {
    bool any = false;
    for (size_t g = 0; g < globs.size(); ++g) {
      if (!glob_match(globs[g], p.name)) continue;
      used[g] = any = true;
    }
    if (any) ranges.push_back(at::arange(p.offset, p.offset + p.size, at::kLong));
  }
  for (size_t g = 0; g < globs.size(); ++g) {
    if (used[g]) continue;
    std::vector<std::string> names;
    for (const auto& p : parameters_) names.push_back(p.name);
    fail_usage(fmt::format("parameters \"{}\": matches none of: {}", globs[g], fmt::join(names, ", ")));
  }
  return ranges.empty() ? at::empty({0}, at::kLong) : at::cat(ranges);
}

}  // namespace osculant
