#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "osculant/study/spectrum_record.h"

namespace osculant {

// What goes wrong in a training, with the number that says so and what to do: an entry of
// "training.watch.warnings" (docs/watching.md).
struct WatchWarning {
  std::string kind;  // dead_signal, exploding, vanishing_gradient, dead_units, overflow_ahead, not_finite,
                     // unstable_step, plateau
  int64_t step = 0, last_step = 0;            // when it was seen first and last
  IntervalRecord measured = {NAN, NAN, NAN};  // what it rests on, at the first
  std::string message = {}, remedy = {};
};

// "training.watch" of result.json (docs/result-format.md).
struct WatchRecord {
  // The curvature along the steepest direction known, which no eigenvalue of the sample's choosing is: its
  // interval is that of the whole objective's curvature along it, and the largest eigenvalue is no smaller.
  struct Sharpness {
    int64_t step = 0;
    IntervalRecord curvature;
    double limit = 0;  // at the learning rate of this step
  };
  double gradient_equivalents = 0;  // beside those of the training
  double share = 0;                 // of the training's
  int64_t flow_looks = 0;
  std::string flow;  // the last verdict
  double stability_limit = NAN;
  std::string limit_words;
  std::vector<Sharpness> sharpness;
  std::vector<WatchWarning> warnings;
  std::string words;
};

std::string to_text(const WatchRecord& watch);
std::string words_of(const WatchWarning& warning);  // when, what, and the remedy

template <class Fields>
void visit(Fields& fields, WatchWarning& warning) {
  fields("kind", warning.kind);
  fields("step", warning.step);
  fields("last_step", warning.last_step);
  fields("measured", warning.measured);
  fields("message", warning.message);
  fields("remedy", warning.remedy);
}

template <class Fields>
void visit(Fields& fields, WatchRecord::Sharpness& point) {
  fields("step", point.step);
  fields("curvature", point.curvature);
  fields("limit", point.limit);
}

template <class Fields>
void visit(Fields& fields, WatchRecord& watch) {
  fields("gradient_equivalents", watch.gradient_equivalents);
  fields("share", watch.share);
  fields("gradient_flow_looks", watch.flow_looks);
  fields("gradient_flow", watch.flow);
  fields("stability_limit", watch.stability_limit);
  fields("limit_words", watch.limit_words);
  fields("sharpness", watch.sharpness);
  fields("warnings", watch.warnings);
  fields("words", watch.words);
}

}  // namespace osculant
