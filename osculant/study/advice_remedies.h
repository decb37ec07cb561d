#pragma once

#include <string>
#include <vector>

#include "osculant/diagnose/gradient_flow.h"
#include "osculant/study/interval_record.h"
#include "osculant/study/result.h"
#include "osculant/study/run_config.h"

namespace osculant {

// Sentences on what is to be mended before a method is chosen, each with the number it rests on; nothing
// where nothing is wrong.

struct SampleCurvature {
  double largest = 0, smallest = 0,
         bound = 0;  // extreme eigenvalues of the Hessian, and how far they may be off
  IntervalRecord stable_rank;
  double gradient_norm = 0;
};

std::vector<std::string> preflight_remedies(const CheckRecord& check);
std::vector<std::string> flow_remedies(const GradientFlow& flow);
std::vector<std::string> curvature_remedies(const SampleCurvature& curvature, const RunConfig& config);

}  // namespace osculant
