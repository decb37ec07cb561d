#pragma once

#include <string>
#include <utility>
#include <vector>

#include "osculant/diagnose/gradient_flow.h"

namespace osculant {

// What the verdict needs beside the layers' numbers.
struct FlowFacts {
  bool finite = true;                          // loss, outputs and gradients
  bool inputs_differ = true;                   // by more than rounding
  double noise = 0;                            // relative to its scale, what is below is rounding
  std::vector<std::string> zero_weights = {};  // layers whose weight is 0 throughout
};

// The verdict on result.layers and the ratios, with its reasons in words.
std::pair<FlowVerdict, std::string> judge(const GradientFlow& result, const FlowFacts& facts,
                                          const GradientFlowOptions& options);

}  // namespace osculant
