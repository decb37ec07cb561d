#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "osculant/optim/minimizer.h"

namespace osculant {

// A method on its own copy of a problem, and how far it may go.
struct Contestant {
  std::string label;
  Method method;
  Objective objective;      // nobody else's parameters
  MinimizeOptions options;  // budget, target, seed; the same limits for all make it a race
};

// How it went.
struct RaceResult {
  std::optional<Summary> summary;  // none when it broke down
  std::string failure;             // then why, in words
  std::vector<Evaluation>
      trajectory;  // the evaluations, thinned evenly beyond 1,000; the first and the last are kept
};

// Where a contestant is, for whoever watches.
struct Standing {
  std::string label;
  Evaluation last;  // the newest
  int64_t steps = 0;
  double seconds = 0, gradient_equivalents = 0;  // of steps
  std::string end;  // why it stopped: "target", "budget", ..., "failure"; empty while it runs
};

struct RaceOptions {
  double slice = 0.25;  // seconds of steps a turn
  std::function<void(const std::vector<Standing>&)> on_turn = {};
  std::function<void(size_t contestant, const RaceResult&)> on_end =
      {};  // not of those that were interrupted
  void check() const;
};

// Lets the contestants take turns of a slice each until all have ended, so that whatever else the machine
// does hurts all of them alike. Budgets in seconds count a contestant's own steps. Each has libtorch's
// default generator to itself, seeded by its options: with budgets in gradient equivalents the bits are those
// of minimize() alone, whatever the slices. A contestant that throws, or whose numbers fail, is out of the
// race and harms no other; only Error(internal) and Error(write) come through. An interruption ends all of
// them where they are.
std::vector<RaceResult> race(std::vector<Contestant> contestants, const RaceOptions& options = {});

}  // namespace osculant
