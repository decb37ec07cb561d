#pragma once

#include <vector>

#include "osculant/diagnose/gradient_flow.h"
#include "osculant/study/advice_record.h"
#include "osculant/study/adviser.h"
#include "osculant/study/problem.h"

namespace osculant {

// What an adviser knows of a problem: for its rules, for a reader, and to be mended first.
struct MeasuredFacts {
  TrainingFacts training;
  std::vector<AdviceRecord::Fact> told;
  std::vector<std::string> remedies;
  GradientFlow flow;
  std::string mode_note;  // where training and evaluation mode differ (check.h)
  // theta with the layers at their critical point; undefined where the network is no plain stack, or has
  // none.
  Tensor critical = {};
};

// Up to this many examples are looked at, taken evenly from the training data; sizes and shares of the data
// are of all, or of the first 20,000.
inline constexpr int64_t advice_examples = 1024;

// About a hundred products with the Hessian of the sample, its gradients, and a reading of the data.
MeasuredFacts measure_facts(const Problem& problem, const RunConfig& config);

}  // namespace osculant
