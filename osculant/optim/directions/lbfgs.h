#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/line_search.h"
#include "osculant/optim/options.h"

namespace osculant {

struct LbfgsOptions {
  int64_t memory = 10;       // pairs (s, y) kept
  double initial_scale = 0;  // H_0 = this times I; 0: s'y / y'y of the last pair
  StrongWolfeOptions line_search = {};
  void check() const;
};
void visit(OptionVisitor& visitor, LbfgsOptions& options);

// -H g with the limited-memory BFGS matrix of the last pairs (Nocedal 1980; Liu & Nocedal 1989), H_0 = s'y /
// y'y of the last of them. A pair without curvature, s'y <= u norm(s) norm(y), is left out; a direction that
// does not descend, and a line search that fails, empty the memory and start again from the gradient, and the
// record says so.
std::unique_ptr<Direction> lbfgs_direction(const LbfgsOptions& options);

}  // namespace osculant
