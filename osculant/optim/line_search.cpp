#include "osculant/optim/line_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "osculant/base/error.h"

namespace osculant {

void StrongWolfeOptions::check() const {
  require_positive("decrease", decrease);
  require_between("decrease", decrease, 0, 0.5);
  require_between("curvature", curvature, decrease, 1);
  require_positive("maximum_step", maximum_step);
  require_at_least("max_evaluations", static_cast<double>(max_evaluations), 1);
  require_non_negative("rounding", rounding);
}

void visit(OptionVisitor& v, StrongWolfeOptions& o) {
  v.number("decrease", o.decrease, "in (0, 0.5]", "c1 of the strong Wolfe conditions");
  v.number("curvature", o.curvature, "between decrease and 1", "c2 of the strong Wolfe conditions");
  v.integer("max_evaluations", o.max_evaluations, ">= 1", "values and gradients a line search may take");
}

std::string to_string(LineSearchStop stop) {
  switch (stop) {
    case LineSearchStop::strong_wolfe:
      return "strong Wolfe conditions hold";
    case LineSearchStop::approximate_wolfe:
      return "approximate Wolfe conditions hold, values equal to rounding";
    case LineSearchStop::decrease_only:
      return "evaluations ran out with sufficient decrease";
    case LineSearchStop::at_maximum:
      return "still descending at the longest step allowed";
    case LineSearchStop::no_decrease:
      return "no step with sufficient decrease found";
    case LineSearchStop::not_descent:
      return "not a direction of descent";
  }
  return "";
}

namespace {

// The minimiser of the cubic that has the values and slopes of a and b, as a + r (b - a):
//   t = 3 (f_a - f_b) / (b - a) + f'_a + f'_b,  g = sign(b - a) sqrt(t^2 - f'_a f'_b),
//   r = (g - f'_a + t) / (2 g - f'_a + f'_b).
struct CubicMinimizer {
  double step;
  bool beyond;  // of b, seen from a, and finite
};
CubicMinimizer cubic_minimizer(const LinePoint& a, const LinePoint& b) {
  double t = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope;
  double s = std::max({std::abs(t), std::abs(a.slope), std::abs(b.slope)});
  double g = s * std::sqrt(std::max(0.0, (t / s) * (t / s) - (a.slope / s) * (b.slope / s)));
  if (b.step < a.step) g = -g;
  double r = (g - a.slope + t) / (2 * g - a.slope + b.slope);
  return {a.step + r * (b.step - a.step), r < 0 && g != 0};
}

// The minimiser of the parabola with a's value and slope and b's value.
double quadratic_minimizer(const LinePoint& a, const LinePoint& b) {
  double h = b.step - a.step;
  return a.step + a.slope / ((a.value - b.value) / h + a.slope) / 2 * h;
}

// Where the line through the slopes of a and b crosses zero.
double secant(const LinePoint& a, const LinePoint& b) {
  return b.step + b.slope / (b.slope - a.slope) * (a.step - b.step);
}

double nearer(double from, double a, double b) {
  return std::abs(a - from) < std::abs(b - from) ? a : b;
}
double farther(double from, double a, double b) {
  return std::abs(a - from) > std::abs(b - from) ? a : b;
}

// The interval of uncertainty of More & Thuente (1994, section 4): `best` has the least value seen, `other`
// is its far end once a minimum is bracketed.
struct Interval {
  LinePoint best, other;
  bool bracketed = false;

  // The next trial after `t`, within [low, high], and the interval's update; the four cases of section 4.
  double advance(const LinePoint& t, double low, double high) {
    bool opposite = t.slope * (best.slope / std::abs(best.slope)) < 0;
    double next = 0;
    if (t.value > best.value) {
      double cubic = cubic_minimizer(best, t).step, quadratic = quadratic_minimizer(best, t);
      next = std::abs(cubic - best.step) < std::abs(quadratic - best.step) ? cubic : (cubic + quadratic) / 2;
      bracketed = true;
    } else if (opposite) {
      next = farther(t.step, cubic_minimizer(t, best).step, secant(best, t));
      bracketed = true;
    } else if (std::abs(t.slope) <= std::abs(best.slope)) {
      next = flatter(t, low, high);
    } else if (bracketed) {
      next = cubic_minimizer(t, other).step;
    } else {
      next = t.step > best.step ? high : low;
    }
    if (t.value > best.value) {
      other = t;
    } else {
      if (opposite) other = best;
      best = t;
    }
    return next;
  }

 private:
  // Case 3: the slope keeps its sign and falls. The cubic may have no minimum beyond t.
  double flatter(const LinePoint& t, double low, double high) const {
    auto minimizer = cubic_minimizer(t, best);
    double cubic = minimizer.beyond ? minimizer.step : (t.step > best.step ? high : low);
    double linear = secant(best, t);
    if (!bracketed) return std::clamp(farther(t.step, cubic, linear), low, high);
    double next = nearer(t.step, cubic, linear), limit = t.step + 0.66 * (other.step - t.step);
    return t.step > best.step ? std::min(limit, next) : std::max(limit, next);
  }
};

class MoreThuente {
 public:
  MoreThuente(const LineFunction& phi, const LinePoint& start, const StrongWolfeOptions& options)
      : phi_(phi), start_(start), options_(options), interval_{start, start, false} {}

  LineSearchResult run(double step) {
    ceiling_ = options_.maximum_step;
    step = std::min(step, ceiling_);
    low_ = 0, high_ = 5 * step;
    double width = ceiling_, previous_width = 2 * width;
    for (int64_t i = 1; i <= options_.max_evaluations; ++i) {
      LinePoint t = phi_(step);
      t.step = step;
      result_.evaluations = i;
      if (!std::isfinite(t.value) || !std::isfinite(t.slope)) {
        ceiling_ = step;
        forbidden_ = true;
        step = interval_.best.step + 0.25 * (step - interval_.best.step);
        continue;
      }
      if (finished(t)) return result_;
      step = next(t);
      if (interval_.bracketed) {
        double extent = std::abs(interval_.other.step - interval_.best.step);
        if (extent >= 0.66 * previous_width)
          step = interval_.best.step + 0.5 * (interval_.other.step - interval_.best.step);
        previous_width = width;
        width = extent;
        low_ = std::min(interval_.best.step, interval_.other.step);
        high_ = std::max(interval_.best.step, interval_.other.step);
        if (high_ - low_ <= 1e-14 * high_) break;
        if (step <= low_ || step >= high_) step = low_ + 0.5 * (high_ - low_);
      } else {
        low_ = step + 1.1 * (step - interval_.best.step);
        high_ = step + 4 * (step - interval_.best.step);
        step = bounded(step);
      }
    }
    return fallback();
  }

 private:
  double line(double step) const { return start_.value + options_.decrease * step * start_.slope; }

  bool finished(const LinePoint& t) {
    double noise = options_.rounding * std::abs(start_.value);
    bool flat = std::abs(t.slope) <= options_.curvature * -start_.slope;
    bool decreased = t.value <= line(t.step);
    // Hager & Zhang 2005: phi(a) <= phi(0) + noise, (2 c1 - 1) phi'(0) >= phi'(a) >= c2 phi'(0).
    bool approximate = t.value <= start_.value + noise && std::abs(t.value - start_.value) <= 2 * noise &&
                       (2 * options_.decrease - 1) * start_.slope >= t.slope;
    bool last = t.step >= options_.maximum_step && decreased && t.slope <= options_.decrease * start_.slope;
    if (decreased && (usable_.step == 0 || t.value < usable_.value)) usable_ = t;
    if (decreased && flat) return stop(t, LineSearchStop::strong_wolfe);
    if (approximate && flat) return stop(t, LineSearchStop::approximate_wolfe);
    if (last) return stop(t, LineSearchStop::at_maximum);
    if (decreased && t.slope >= 0) second_stage_ = true;
    return false;
  }

  bool stop(const LinePoint& point, LineSearchStop why) {
    result_.point = point;
    result_.stop = why;
    return true;
  }

  // Until a point with sufficient decrease and a rising slope is seen, the interval is updated with
  // psi(a) = phi(a) - phi(0) - c1 a phi'(0), which has a minimiser that satisfies both conditions (section
  // 3).
  double next(const LinePoint& t) {
    bool modified = !second_stage_ && t.value <= interval_.best.value && t.value > line(t.step);
    if (!modified) return interval_.advance(t, low_, high_);
    double tilt = options_.decrease * start_.slope;
    auto tilted = [&](LinePoint p, double sign) {
      return LinePoint{p.step, p.value - sign * tilt * p.step, p.slope - sign * tilt};
    };
    interval_.best = tilted(interval_.best, 1);
    interval_.other = tilted(interval_.other, 1);
    double step = interval_.advance(tilted(t, 1), low_, high_);
    interval_.best = tilted(interval_.best, -1);
    interval_.other = tilted(interval_.other, -1);
    return step;
  }

  double bounded(double step) const {
    if (!forbidden_) return std::min(step, ceiling_);
    return std::min(step, interval_.best.step + 0.66 * (ceiling_ - interval_.best.step));
  }

  LineSearchResult fallback() {
    result_.stop = usable_.step > 0 ? LineSearchStop::decrease_only : LineSearchStop::no_decrease;
    result_.point = usable_.step > 0 ? usable_ : start_;
    return result_;
  }

  const LineFunction& phi_;
  LinePoint start_;
  const StrongWolfeOptions& options_;
  Interval interval_;
  LinePoint usable_;  // least value with sufficient decrease so far; step 0: none
  LineSearchResult result_;
  double low_ = 0, high_ = 0;
  double ceiling_ = 0;
  bool forbidden_ = false;  // phi is not finite at the ceiling
  bool second_stage_ = false;
};

}  // namespace

LineSearchResult strong_wolfe(const LineFunction& phi, const LinePoint& start, double first_step,
                              const StrongWolfeOptions& options) {
  options.check();
  require_positive("first step", first_step);
  if (!(start.slope < 0) || !std::isfinite(start.value)) return {start, LineSearchStop::not_descent, 0};
  LinePoint origin = start;
  origin.step = 0;
  return MoreThuente(phi, origin, options).run(first_step);
}

}  // namespace osculant
