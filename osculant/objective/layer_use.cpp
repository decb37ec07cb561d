#include "osculant/objective/layer_use.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace osculant {
namespace {

// Dimensions of a tap's output.
struct Axes {
  std::vector<int64_t> positions, units;
};
Axes axes_of(const LayerTap& tap) {
  Axes axes;
  int64_t dims = tap.output.dim(), part = static_cast<int64_t>(tap.part.shape.size());
  for (int64_t d = 0; d < dims; ++d) {
    bool unit = d == (tap.unit_dimension + dims) % dims;
    if (tap.kind == LayerKind::normalization && tap.unit_dimension < 0) unit = d >= dims - part;
    if (tap.kind == LayerKind::bias)
      unit = d >= dims - part && tap.part.shape[static_cast<size_t>(d - dims + part)] > 1;
    (unit ? axes.units : axes.positions).push_back(d);
  }
  return axes;
}

int64_t positions_of(const LayerTap& tap) {
  int64_t count = 1;
  for (int64_t d : axes_of(tap).positions) count *= tap.output.size(d);
  return count;
}

// [columns, positions of the batch, features] to [columns, N, T, features]
Tensor by_example(const LayerUse& use, const Tensor& x) {
  int64_t blocks = use.positions / use.stride;
  Tensor split = x.reshape({x.size(0), blocks, use.examples, use.stride, x.size(-1)});
  return split.transpose(1, 2).reshape({x.size(0), use.examples, use.positions, x.size(-1)});
}

bool same_positions(const Tensor& input, const Tensor& output, int64_t features) {
  return input.dim() == output.dim() - 1 + features &&
         input.sizes().slice(0, static_cast<size_t>(output.dim() - 1)) ==
             output.sizes().slice(0, static_cast<size_t>(output.dim() - 1));
}

// [N, places of the output..., channels, kernel...], a view of the padded input.
Tensor patches(const LayerTap& tap) {
  const auto& g = tap.convolution;
  std::vector<int64_t> kernel(tap.part.shape.begin() + 2, tap.part.shape.end());
  std::vector<int64_t> padding;
  for (size_t d = kernel.size(); d-- > 0;)
    padding.insert(padding.end(), {g.padding_before[d], g.padding_after[d]});
  Tensor x = tap.input.detach();
  if (std::any_of(padding.begin(), padding.end(), [](int64_t p) { return p != 0; }))
    x = at::constant_pad_nd(x, padding);
  std::vector<int64_t> sizes{x.size(0)}, strides{x.stride(0)}, kernel_strides{x.stride(1)};
  for (size_t d = 0; d < kernel.size(); ++d) {
    int64_t stride = x.stride(static_cast<int64_t>(d) + 2);
    sizes.push_back(tap.output.size(static_cast<int64_t>(d) + 2));
    strides.push_back(stride * g.stride[d]);
    kernel_strides.push_back(stride * g.dilation[d]);
  }
  sizes.push_back(x.size(1));
  sizes.insert(sizes.end(), kernel.begin(), kernel.end());
  strides.insert(strides.end(), kernel_strides.begin(), kernel_strides.end());
  return x.as_strided(sizes, strides);
}

// The part of M that the weight is, [..., groups, outputs / groups, inputs], a view of flat.
Tensor weight_view(const LayerUse& use, const Tensor& flat) {
  const auto& part = use.tap.part;
  Tensor stretch = flat.narrow(-1, part.offset, part.size());
  int64_t rows = use.outputs / use.groups;
  if (use.tap.kind == LayerKind::normalization || use.tap.kind == LayerKind::bias)
    return stretch.unflatten(-1, {1, use.outputs, 1});
  bool turned = use.tap.transposed || use.tap.kind == LayerKind::embedding;
  if (turned) return stretch.unflatten(-1, {1, use.inputs, use.outputs}).transpose(-1, -2);
  return stretch.unflatten(-1, {use.groups, rows, use.inputs});
}

Tensor bias_view(const LayerUse& use, const Tensor& flat) {
  return flat.narrow(-1, use.tap.bias->offset, use.tap.bias->size())
      .unflatten(-1, {use.groups, use.outputs / use.groups, 1});
}

}  // namespace

double flops_of(const LayerUse& use) {
  auto outputs = static_cast<double>(use.positions * use.outputs);
  double bias = use.has_bias() ? outputs : 0;
  if (use.tap.kind == LayerKind::embedding) return 0;
  if (use.tap.kind == LayerKind::bias) return outputs;
  // Mean, deviation, its square, their quotient, and the weight.
  if (use.tap.kind == LayerKind::normalization) return 5 * outputs + bias;
  return (2 * static_cast<double>(use.inputs) - 1) * outputs + bias;
}

LayerTap bias_alone(LayerTap tap) {
  tap.part = *std::exchange(tap.bias, std::nullopt);
  tap.parameter = tap.part.name;
  if (tap.unit_dimension == 1) {
    tap.part.shape.assign(static_cast<size_t>(tap.output.dim() - 1), 1);
    tap.part.shape[0] = tap.output.size(1);
  }
  tap.kind = LayerKind::bias;
  return tap;
}

std::vector<int64_t> possible_strides(const LayerTap& tap, int64_t examples) {
  std::vector<int64_t> strides;
  int64_t rest = positions_of(tap);
  for (int64_t d : axes_of(tap).positions) {
    int64_t size = tap.output.size(d);
    rest /= size;
    if (size % examples != 0) continue;
    for (int64_t stride : {size / examples * rest, rest})
      if (std::find(strides.begin(), strides.end(), stride) == strides.end()) strides.push_back(stride);
  }
  return strides;
}

std::optional<LayerUse> layer_use(const LayerTap& tap, int64_t examples) {
  if (tap.output.numel() == 0 || examples == 0) return std::nullopt;
  LayerUse use{.tap = tap, .outputs = tap.part.size(), .examples = examples};
  if (tap.kind == LayerKind::linear) {
    use.inputs = tap.input.size(-1);
    use.outputs = tap.output.size(-1);
    if (!same_positions(tap.input, tap.output, 1)) return std::nullopt;
  } else if (tap.kind == LayerKind::convolution) {
    use.groups = tap.convolution.groups;
    use.outputs = tap.part.shape[0];
    use.inputs = tap.part.size() / use.outputs;
  } else if (tap.kind == LayerKind::embedding) {
    if (tap.part.shape.size() != 2 || !same_positions(tap.input, tap.output, 0)) return std::nullopt;
    use.inputs = tap.part.shape[0];
    use.outputs = tap.part.shape[1];
  } else if (tap.kind == LayerKind::normalization) {
    use.inputs = 1;
  }
  auto strides = possible_strides(tap, examples);
  if (strides.empty()) return std::nullopt;
  use.stride = strides[0];
  use.positions = positions_of(tap) / examples;
  return use;
}

Tensor inputs_of(const LayerUse& use, bool ones) {
  const LayerTap& tap = use.tap;
  int64_t P = use.examples * use.positions, G = use.groups;
  if (tap.kind == LayerKind::bias)
    return at::ones({use.examples, use.positions, 1}, tap.output.options().requires_grad(false));
  if (tap.kind == LayerKind::embedding)
    return by_example(use, tap.input.detach().reshape({1, P, 1})).select(3, 0)[0];
  if (tap.kind == LayerKind::normalization) {
    Tensor a = tap.normalized();
    return derivatives_of(use, a.unsqueeze(0))[0];
  }
  Tensor a = tap.kind == LayerKind::convolution ? patches(tap) : tap.input.detach();
  a = by_example(use, a.reshape({1, P, G * use.inputs}))[0];
  if (!ones || !use.has_bias()) return a;
  Tensor one = at::ones({1}, a.options()).expand({use.examples, use.positions, G, 1});
  return at::cat({a.unflatten(2, {G, use.inputs}), one}, 3).flatten(2);
}

Tensor derivatives_of(const LayerUse& use, const Tensor& by_output) {
  Axes axes = axes_of(use.tap);
  std::vector<int64_t> order{0};
  for (const auto* dims : {&axes.positions, &axes.units})
    for (int64_t d : *dims) order.push_back(d + 1);
  Tensor rows = by_output.permute(order);
  return by_example(use, rows.reshape({by_output.size(0), use.examples * use.positions, use.outputs}));
}

Tensor matrix_of(const LayerUse& use, const Tensor& flat) {
  Tensor W = weight_view(use, flat);
  return use.has_bias() ? at::cat({W, bias_view(use, flat)}, -1) : W;
}

void add_matrix(const LayerUse& use, const Tensor& M, Tensor& flat, double scale) {
  Tensor W = weight_view(use, flat);
  W.add_(M.narrow(-1, 0, W.size(-1)), scale);
  if (!use.has_bias()) return;
  Tensor b = bias_view(use, flat);
  b.add_(M.narrow(-1, W.size(-1), 1), scale);
}

}  // namespace osculant
