#include "osculant/spectrum/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace osculant {
namespace {

double guarded(double x) {
  return std::abs(x) < 1e-300 ? 1e-300 : x;
}

// The continued fraction of the incomplete beta function (Abramowitz & Stegun 26.5.8) by Lentz's method.
double beta_fraction(double a, double b, double x) {
  double c = 1, d = 1 / guarded(1 - (a + b) * x / (a + 1)), h = d;
  for (int m = 1; m < 50000; ++m) {  // about sqrt(max(a, b)) are needed
    double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guarded(1 + even * d);
    c = guarded(1 + even / c);
    h *= d * c;
    double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guarded(1 + odd * d);
    c = guarded(1 + odd / c);
    h *= d * c;
    if (std::abs(d * c - 1) < 1e-15) break;
  }
  return h;
}

// The regularised incomplete beta function I_x(a, b).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  double front =
      std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                   : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

// P(T > t) for t >= 0 (Abramowitz & Stegun 26.7.1).
double upper_tail(double t, double dof) {
  return 0.5 * incomplete_beta(dof / 2, 0.5, dof / (dof + t * t));
}

// The regularised lower incomplete gamma function P(a, x) = x^a e^-x / Gamma(a + 1) sum of x^m / ((a + 1) ...
// (a + m)) (Abramowitz & Stegun 6.5.29); terms are positive, so it is accurate for all x that matter to a
// quantile.
double incomplete_gamma(double a, double x) {
  double term = 1, sum = 1;
  for (int m = 1; term > 1e-17 * sum && m < 100000; ++m) {
    term *= x / (a + m);
    sum += term;
  }
  return sum * std::exp(a * std::log(x) - x - std::lgamma(a + 1));
}

// log of the stake multiplied by betting on draws above the mean m: prod (1 + lambda_i (x_i - m_i)), m_i the
// mean of what is left to draw, and lambda_i from the mean and variance of the draws before (Waudby-Smith &
// Ramdas 2024, eq. 26 for bets, with m_i for draws without replacement). Falls as m grows.
double log_capital(const std::vector<double>& draws, double population, double m, double alpha) {
  double capital = 0, sum = 0, squares = 0.25, variance = 0.25, seen = 0;
  for (double x : draws) {
    double left = (population * m - sum) / (population - seen);
    if (left < 0) return std::numeric_limits<double>::infinity();  // less than was seen already
    left = std::clamp(left, 1e-12, 1.0);
    double bet = std::sqrt(2 * std::log(2 / alpha) / (variance * static_cast<double>(draws.size())));
    capital += std::log1p(std::min(bet, 0.75 / left) * (x - left));
    sum += x;
    ++seen;
    double mean = (0.5 + sum) / (seen + 1);
    squares += (x - mean) * (x - mean);
    variance = squares / (seen + 1);
  }
  return capital;
}

// The smallest mean against which that stake stays below 2 / alpha.
double smallest_mean(const std::vector<double>& draws, double population, double alpha) {
  double low = 0, high = 0;
  for (double x : draws) high += x / static_cast<double>(draws.size());
  auto refuted = [&](double m) { return log_capital(draws, population, m, alpha) >= std::log(2 / alpha); };
  if (!refuted(low)) return low;
  for (int i = 0; i < 60; ++i) {
    double middle = (low + high) / 2;
    (refuted(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::pair<double, double> mean_of_bounded(const std::vector<double>& draws, int64_t population,
                                          double confidence) {
  if (draws.empty()) return {0, 1};
  double low = smallest_mean(draws, static_cast<double>(population), 1 - confidence);
  std::vector<double> turned;
  for (double x : draws) turned.push_back(1 - x);
  return {low, 1 - smallest_mean(turned, static_cast<double>(population), 1 - confidence)};
}

double chi_square_quantile(double p, double dof) {
  auto below = [&](double x) { return incomplete_gamma(dof / 2, x / 2) < p; };
  double low = 0, high = dof;
  while (below(high)) high *= 2;
  for (int i = 0; i < 200 && high - low > 1e-14 * high; ++i) {
    double middle = (low + high) / 2;
    (below(middle) ? low : high) = middle;
  }
  return (low + high) / 2;
}

double chi_square_probability(double x, double dof) {
  return x <= 0 ? 0 : incomplete_gamma(dof / 2, x / 2);
}

double beta_probability(double x, double a, double b) {
  return incomplete_beta(a, b, x);
}

double random_entry_probability(int64_t n, double square) {
  if (n < 2) return square < 1 ? 0 : 1;
  return incomplete_beta(0.5, static_cast<double>(n - 1) / 2, square);
}

double student_quantile(double p, double dof) {
  if (p < 0.5) return -student_quantile(1 - p, dof);
  double low = 0, high = 1;
  while (upper_tail(high, dof) > 1 - p) high *= 2;
  for (int i = 0; i < 200 && high - low > 1e-14 * high; ++i) {
    double middle = (low + high) / 2;
    (upper_tail(middle, dof) > 1 - p ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace osculant
