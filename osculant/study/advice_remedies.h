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

// Up to which learning rate gradient descent is stable, from the largest eigenvalue found, its bound, and the
// probability that a larger one was missed: as sure as that is, and at the most 2 / largest.
std::string stability_words(double largest, double bound, double doubt);

std::vector<std::string> preflight_remedies(const CheckRecord& check);
std::vector<std::string> flow_remedies(const GradientFlow& flow);
std::vector<std::string> curvature_remedies(const SampleCurvature& curvature, const RunConfig& config);

}  // namespace osculant
