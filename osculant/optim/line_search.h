#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "osculant/optim/options.h"

namespace osculant {

// phi(alpha) = f(theta + alpha p) and its slope phi'(alpha) = g(theta + alpha p)'p.
struct LinePoint {
  double step = 0;
  double value = 0;
  double slope = 0;
};
using LineFunction = std::function<LinePoint(double step)>;

struct StrongWolfeOptions {
  double decrease = 1e-4;  // c1: phi(a) <= phi(0) + c1 a phi'(0)
  double curvature = 0.9;  // c2: |phi'(a)| <= c2 |phi'(0)|
  double maximum_step = 1e10;
  int64_t max_evaluations = 25;
  double rounding = 0;  // relative noise of phi: a few times the dtype's epsilon
  void check() const;
};
// As options of a method: decrease, curvature, max_evaluations.
void visit(OptionVisitor& visitor, StrongWolfeOptions& options);

enum class LineSearchStop {
  strong_wolfe,       // both conditions hold
  approximate_wolfe,  // phi is flat to within rounding and the slope says that the minimum is passed or near
  decrease_only,      // evaluations ran out; sufficient decrease holds, the curvature condition does not
  at_maximum,         // still descending at maximum_step
  no_decrease,        // no point with sufficient decrease was found
  not_descent,        // phi'(0) >= 0, or is no number
};
std::string to_string(LineSearchStop stop);

struct LineSearchResult {
  LinePoint point;  // step 0 when nothing better than the start was found
  LineSearchStop stop = LineSearchStop::no_decrease;
  int64_t evaluations = 0;
  bool usable() const { return point.step > 0; }
};

// A step that satisfies the strong Wolfe conditions, by the safeguarded cubic interpolation of More & Thuente
// (1994). Where phi or its slope is not finite the step counts as too long. In the last digits, where
// differences of phi are noise, the approximate conditions of Hager & Zhang (2005) decide by slopes.
LineSearchResult strong_wolfe(const LineFunction& phi, const LinePoint& start, double first_step,
                              const StrongWolfeOptions& options = {});

}  // namespace osculant
