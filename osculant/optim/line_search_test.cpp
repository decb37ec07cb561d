#include "osculant/optim/line_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "osculant/base/error.h"

namespace osculant {
namespace {

void expect_strong_wolfe(const LineSearchResult& result, const LinePoint& start,
                         const StrongWolfeOptions& options, const LineFunction& phi) {
  LinePoint t = phi(result.point.step);
  EXPECT_EQ(t.value, result.point.value);
  EXPECT_GT(result.point.step, 0);
  EXPECT_LE(t.value, start.value + options.decrease * result.point.step * start.slope);
  EXPECT_LE(std::abs(t.slope), options.curvature * -start.slope);
}

// phi(a) = -a / (a^2 + 2) and (a + 0.004)^5 - 2 (a + 0.004)^4: More & Thuente 1994, (5.1) and (5.2), with
// their tolerances and starting steps.
TEST(LineSearch, solves_the_problems_of_more_and_thuente) {
  auto first = [](double a) {
    return LinePoint{a, -a / (a * a + 2), (a * a - 2) / ((a * a + 2) * (a * a + 2))};
  };
  auto second = [](double a) {
    double t = a + 0.004;
    return LinePoint{a, std::pow(t, 5) - 2 * std::pow(t, 4), 5 * std::pow(t, 4) - 8 * std::pow(t, 3)};
  };
  struct Case {
    LineFunction phi;
    StrongWolfeOptions options;
  };
  for (const auto& [phi, options] : {Case{first, {.decrease = 1e-3, .curvature = 0.1}},
                                     Case{second, {.decrease = 0.1, .curvature = 0.1}}}) {
    for (double step : {1e-3, 1e-1, 1e1, 1e3}) {
      auto result = strong_wolfe(phi, phi(0), step, options);
      ASSERT_EQ(result.stop, LineSearchStop::strong_wolfe) << "from " << step;
      EXPECT_LE(result.evaluations, 15);
      expect_strong_wolfe(result, phi(0), options, phi);
    }
  }
}

TEST(LineSearch, holds_the_conditions_on_random_functions) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> u(-1, 1);
  int solved = 0, tried = 0;
  while (tried < 2000) {
    double a = u(random), b = 5 * u(random), c = 8 * u(random), d = u(random),
           e = std::pow(10, 2 * u(random));
    // A quartic bowl with ripples, bounded below.
    auto phi = [=](double t) {
      double s = e * t;
      return LinePoint{t, s * s * s * s / 50 + a * s * s + b * s + d * std::sin(c * s),
                       e * (4 * s * s * s / 50 + 2 * a * s + b + c * d * std::cos(c * s))};
    };
    if (!(phi(0).slope < 0)) continue;
    ++tried;
    StrongWolfeOptions options{.curvature = tried % 2 ? 0.9 : 0.1};
    auto result = strong_wolfe(phi, phi(0), std::pow(10, 2 * u(random)), options);
    if (result.stop != LineSearchStop::strong_wolfe) continue;
    ++solved;
    expect_strong_wolfe(result, phi(0), options, phi);
  }
  EXPECT_GE(solved, 1980);
}

TEST(LineSearch, takes_a_value_that_is_not_finite_for_a_step_too_long) {
  auto phi = [](double a) {  // minimum at 2/3, a pole at 1
    if (a >= 1) return LinePoint{a, std::numeric_limits<double>::quiet_NaN(), 0};
    return LinePoint{a, -std::log(1 - a) - 3 * a, 1 / (1 - a) - 3};
  };
  StrongWolfeOptions options{.curvature = 0.01, .max_evaluations = 40};
  auto result = strong_wolfe(phi, phi(0), 100, options);
  ASSERT_EQ(result.stop, LineSearchStop::strong_wolfe);
  EXPECT_NEAR(result.point.step, 2.0 / 3, 0.01);
}

TEST(LineSearch, says_when_there_is_nothing_to_find) {
  auto uphill = [](double a) { return LinePoint{a, a, 1}; };
  EXPECT_EQ(strong_wolfe(uphill, uphill(0), 1).stop, LineSearchStop::not_descent);
  EXPECT_FALSE(strong_wolfe(uphill, uphill(0), 1).usable());

  auto downhill = [](double a) { return LinePoint{a, -a, -1}; };
  auto far = strong_wolfe(downhill, downhill(0), 1, {.maximum_step = 100});
  EXPECT_EQ(far.stop, LineSearchStop::at_maximum);
  EXPECT_EQ(far.point.step, 100);

  // A slope that lies: the values rise whatever it says.
  auto lying = [](double a) { return LinePoint{a, a, -1}; };
  auto result = strong_wolfe(lying, lying(0), 1);
  EXPECT_EQ(result.stop, LineSearchStop::no_decrease);
  EXPECT_EQ(result.evaluations, 25);
}

TEST(LineSearch, decides_by_slopes_where_values_are_noise) {
  // A fall of 1e-18 from 1 is nothing in float64; the value comes out an epsilon too high.
  auto phi = [](double a) { return LinePoint{a, a > 0 ? 1 + 2.3e-16 : 1, 2e-18 * (a - 1)}; };
  auto result = strong_wolfe(phi, phi(0), 0.5, {.rounding = 1e-15});
  EXPECT_EQ(result.stop, LineSearchStop::approximate_wolfe);
  EXPECT_TRUE(result.usable());
}

TEST(LineSearch, refuses_options_that_cannot_be_meant) {
  auto phi = [](double a) { return LinePoint{a, -a, -1}; };
  EXPECT_THROW(strong_wolfe(phi, phi(0), 1, {.decrease = 0.9}), Error);
  EXPECT_THROW(strong_wolfe(phi, phi(0), 1, {.decrease = 0.1, .curvature = 0.05}), Error);
  EXPECT_THROW(strong_wolfe(phi, phi(0), 0), Error);
}

}  // namespace
}  // namespace osculant
