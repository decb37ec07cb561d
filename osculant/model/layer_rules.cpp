#include "osculant/model/layer_rules.h"

#include <array>
#include <string>

namespace osculant {
namespace {

constexpr std::array<WeightRule, 22> weight_rules{{
    {"linear", LayerKind::linear, 0, 1, 2, -1},
    {"addmm", LayerKind::linear, 1, 2, 0, -1},
    {"mm", LayerKind::linear, 0, 1, -1, -1},
    {"matmul", LayerKind::linear, 0, 1, -1, -1},
    {"conv1d", LayerKind::convolution, 0, 1, 2, 1},
    {"conv2d", LayerKind::convolution, 0, 1, 2, 1},
    {"conv3d", LayerKind::convolution, 0, 1, 2, 1},
    {"conv_transpose1d", LayerKind::convolution, 0, 1, 2, 1},
    {"conv_transpose2d", LayerKind::convolution, 0, 1, 2, 1},
    {"conv_transpose3d", LayerKind::convolution, 0, 1, 2, 1},
    {"convolution", LayerKind::convolution, 0, 1, 2, 1},
    {"embedding", LayerKind::embedding, 1, 0, -1, -1},
    {"layer_norm", LayerKind::normalization, 0, 2, 3, -1},
    {"native_layer_norm", LayerKind::normalization, 0, 2, 3, -1},
    {"rms_norm", LayerKind::normalization, 0, 2, -1, -1},
    {"group_norm", LayerKind::normalization, 0, 2, 3, 1},
    {"batch_norm", LayerKind::normalization, 0, 1, 2, 1},
    {"instance_norm", LayerKind::normalization, 0, 1, 2, 1},
    {"native_batch_norm", LayerKind::normalization, 0, 1, 2, 1},
    {"_native_batch_norm_legit", LayerKind::normalization, 0, 1, 2, 1},
    {"_native_batch_norm_legit_no_training", LayerKind::normalization, 0, 1, 2, 1},
    {"cudnn_batch_norm", LayerKind::normalization, 0, 1, 2, 1},
}};

struct ActivationRule {
  std::string_view operation;
  ActivationKind kind;
};
constexpr std::array<ActivationRule, 13> activation_rules{{
    {"relu", ActivationKind::relu},
    {"relu6", ActivationKind::relu},
    {"tanh", ActivationKind::tanh},
    {"sigmoid", ActivationKind::sigmoid},
    {"gelu", ActivationKind::other},
    {"silu", ActivationKind::other},
    {"elu", ActivationKind::other},
    {"selu", ActivationKind::other},
    {"celu", ActivationKind::other},
    {"leaky_relu", ActivationKind::other},
    {"softplus", ActivationKind::other},
    {"mish", ActivationKind::other},
    {"hardtanh", ActivationKind::other},
}};

template <class Table>
auto find_rule(const Table& table, std::string_view operation) -> decltype(table.data()) {
  for (const auto& rule : table)
    if (rule.operation == operation) return &rule;
  return nullptr;
}

// One number stands for all dimensions.
std::vector<int64_t> by_dimension(const c10::IValue& value, size_t dimensions) {
  auto numbers = value.toIntVector();
  return numbers.size() == 1 ? std::vector<int64_t>(dimensions, numbers[0]) : numbers;
}

}  // namespace

const WeightRule* weight_rule(std::string_view operation) {
  return find_rule(weight_rules, operation);
}

ActivationKind activation_of(std::string_view operation) {
  const auto* rule = find_rule(activation_rules, operation);
  return rule ? rule->kind : ActivationKind::none;
}

// conv: input, weight, bias, stride, padding or "same" or "valid", dilation, groups;
// convolution: ..., dilation, transposed, output padding, groups.
std::optional<ConvolutionGeometry> convolution_geometry(const WeightRule& rule, const c10::IValue* argument) {
  const Tensor &input = argument[0].toTensor(), &weight = argument[1].toTensor();
  bool general = rule.operation == "convolution";
  if (rule.operation.starts_with("conv_transpose") || (general && argument[6].toBool())) return std::nullopt;
  if (input.dim() != weight.dim()) return std::nullopt;
  auto d = static_cast<size_t>(weight.dim() - 2);
  ConvolutionGeometry geometry;
  geometry.stride = by_dimension(argument[3], d);
  geometry.dilation = by_dimension(argument[5], d);
  geometry.groups = argument[general ? 8 : 6].toInt();
  if (!argument[4].isString()) {
    geometry.padding_before = geometry.padding_after = by_dimension(argument[4], d);
    return geometry;
  }
  bool same = argument[4].toStringRef() == "same";
  for (size_t i = 0; i < d; ++i) {
    int64_t total = same ? geometry.dilation[i] * (weight.size(static_cast<int64_t>(i) + 2) - 1) : 0;
    geometry.padding_before.push_back(total / 2);
    geometry.padding_after.push_back(total - total / 2);
  }
  return geometry;
}

std::optional<RunningStatistics> running_statistics(std::string_view operation) {
  if (operation == "_native_batch_norm_legit_no_training") return RunningStatistics{3, 4, std::nullopt};
  if (operation.ends_with("batch_norm") || operation.starts_with("_native_batch_norm") ||
      operation == "instance_norm")
    return RunningStatistics{3, 4, 5};
  return std::nullopt;
}

}  // namespace osculant
