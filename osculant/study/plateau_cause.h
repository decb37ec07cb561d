#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "osculant/diagnose/curvature_probe.h"
#include "osculant/diagnose/step_trend.h"
#include "osculant/study/stability_limit.h"
#include "osculant/study/watch_record.h"

namespace osculant {

// A loss that stands still, and what is known of how it came there.
struct Plateau {
  int64_t step = 0;
  int64_t window = 0;        // steps over which it was seen
  Measured fall = {};        // share of itself that the loss fell by between the window's halves
  double loss = 0;           // mean, recent
  double first_loss = 0;     // of the first step
  double gradient_norm = 0;  // of the last step's batch
  int64_t batch_size = 0;
  Tensor moved;             // theta now less theta some steps ago, [n]
  int64_t moved_steps = 0;  // so many
  // The last curvature measured along the steepest direction, NaN where none was, and the limit.
  IntervalRecord sharpness = {NAN, NAN, NAN};
  StabilityLimit limit = {};
};

// Examples that it takes to tell noise from gradient at that batch size, of N.
int64_t noise_examples(int64_t batch_size, int64_t examples);

// The cause, measured on the sample in this order: negative curvature that outweighs what is left of a
// gradient (saddle); a gradient noise scale above the batch size; a road that still leads far down (too small
// a step, or a valley whose walls do not allow a larger one). Nothing where none of these shows: the loss may
// be as low as it can be. Signals that do not get through are looked for by gradient_flow, before.
std::optional<WatchWarning> plateau_cause(const Objective& objective, const ExampleParts& parts,
                                          const Plateau& plateau, RandomStream& random);

}  // namespace osculant
