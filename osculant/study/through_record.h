#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "osculant/study/spectrum_record.h"

namespace osculant {

// How curvature moves through training: "through" of result.json (docs/result-format.md).
struct ThroughRecord {
  struct Point {
    int64_t step = 0;
    double loss = 0, gradient_norm = 0;
    std::vector<EigenvalueRecord> largest, smallest;
    double pairing_failure_probability = 0, miss_probability = 0;
    IntervalRecord stable_rank;
    std::string flow;  // verdict on the gradient's flow
    int64_t products = 0;
  };
  std::string folder, matrix;
  // Of the training: gradient descent is unstable along curvature beyond this. NaN: not known of the method.
  double stability_limit = std::nan("");
  std::string limit_words;    // how the limit comes about, or why there is none
  std::vector<Point> points;  // by step
  std::string words;          // what they show
};

std::string to_text(const ThroughRecord& through);

template <class Fields>
void visit(Fields& fields, ThroughRecord::Point& point) {
  fields("step", point.step);
  fields("loss", point.loss);
  fields("gradient_norm", point.gradient_norm);
  fields("largest", point.largest);
  fields("smallest", point.smallest);
  fields("pairing_failure_probability", point.pairing_failure_probability);
  fields("miss_probability", point.miss_probability);
  fields("stable_rank", point.stable_rank);
  fields("gradient_flow", point.flow);
  fields("products", point.products);
}

template <class Fields>
void visit(Fields& fields, ThroughRecord& through) {
  fields("folder", through.folder);
  fields("matrix", through.matrix);
  fields("stability_limit", through.stability_limit);
  fields("limit_words", through.limit_words);
  fields("points", through.points);
  fields("words", through.words);
}

}  // namespace osculant
