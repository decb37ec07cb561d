#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "osculant/model/layer_taps.h"

namespace osculant {

// An operator with a weight, and where its arguments stand.
struct WeightRule {
  std::string_view operation;
  LayerKind kind;
  size_t input, weight;
  int64_t bias;  // -1: takes none
  int64_t unit_dimension;
};
const WeightRule* weight_rule(std::string_view operation);  // null for other operators

// none for operators that are no activation of one unit.
ActivationKind activation_of(std::string_view operation);

// The geometry in a convolution's arguments. Nothing for a transposed one, and for one without the dimension
// of examples.
std::optional<ConvolutionGeometry> convolution_geometry(const WeightRule& rule, const c10::IValue* argument);

// Places of a normalisation's running statistics among its arguments; nothing for one that has none.
struct RunningStatistics {
  size_t mean, variance;
  std::optional<size_t> by_batch;  // the flag that has the batch's own statistics used; else never used
};
std::optional<RunningStatistics> running_statistics(std::string_view operation);

}  // namespace osculant
