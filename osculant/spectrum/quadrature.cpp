#include "osculant/spectrum/quadrature.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace osculant {
namespace {

constexpr double kUnit = std::numeric_limits<double>::epsilon();

// One implicit QL sweep over [first, last] (EISPACK imtql2), eigenvectors by their first components alone.
void ql_sweep(std::vector<double>& d, std::vector<double>& e, std::vector<double>& z, size_t first,
              size_t last) {
  double g = (d[first + 1] - d[first]) / (2 * e[first]);
  g = d[last] - d[first] + e[first] / (g + std::copysign(std::hypot(g, 1.0), g));
  double s = 1, c = 1, p = 0;
  for (size_t i = last; i-- > first;) {
    double f = s * e[i], b = c * e[i], r = std::hypot(f, g);
    e[i + 1] = r;
    if (r == 0) {
      d[i + 1] -= p;
      e[last] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1] - p;
    r = (d[i] - g) * s + 2 * c * b;
    p = s * r;
    d[i + 1] = g + p;
    g = c * r - b;
    double next = z[i + 1];
    z[i + 1] = s * z[i] + c * next;
    z[i] = c * z[i] - s * next;
  }
  d[first] -= p;
  e[first] = g;
  e[last] = 0;
}

double largest_row_sum(const std::vector<double>& d, const std::vector<double>& e) {
  double norm = 0;
  for (size_t i = 0; i < d.size(); ++i)
    norm = std::max(norm, std::abs(d[i]) + std::abs(e[i]) + (i > 0 ? std::abs(e[i - 1]) : 0));
  return norm;
}

double weights_from(const QuadratureRule& rule, size_t first) {
  return std::accumulate(rule.weights.begin() + static_cast<std::ptrdiff_t>(first), rule.weights.end(), 0.0);
}

// The bounds at t from any rule that the inequalities hold for: by the last node up to t from below, by the
// first one from t on from above.
Enclosure bounds_from(const QuadratureRule& rule, double t) {
  const auto& nodes = rule.nodes;
  double tie = 8 * kUnit * std::max({std::abs(nodes.front()), std::abs(nodes.back()), std::abs(t)});
  size_t up_to = std::upper_bound(nodes.begin(), nodes.end(), t + tie) - nodes.begin();
  size_t from = std::lower_bound(nodes.begin(), nodes.end(), t - tie) - nodes.begin();
  double low = 0;
  for (size_t i = 0; i + 1 < up_to; ++i) low += rule.weights[i];
  return {low, from + 1 < nodes.size() ? 1 - weights_from(rule, from + 1) : 1};
}

}  // namespace

QuadratureRule gauss_rule(const std::vector<double>& diagonal, const std::vector<double>& off_diagonal) {
  size_t n = diagonal.size();
  std::vector<double> d = diagonal, e(off_diagonal.begin(), off_diagonal.begin() + (n > 0 ? n - 1 : 0));
  e.push_back(0);
  std::vector<double> z(n, 0);
  if (n > 0) z[0] = 1;
  double negligible = kUnit * largest_row_sum(d, e);
  for (size_t first = 0; first < n; ++first)
    for (int sweep = 0; sweep < 100; ++sweep) {
      size_t last = first;
      while (last + 1 < n && std::abs(e[last]) > negligible) ++last;
      if (last == first) break;
      ql_sweep(d, e, z, first, last);
    }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return d[a] < d[b]; });
  QuadratureRule rule;
  for (size_t i : order) {
    rule.nodes.push_back(d[i]);
    rule.weights.push_back(z[i] * z[i]);
  }
  return rule;
}

ProbeMeasure::ProbeMeasure(Tridiagonal T, bool exact)
    : T_(std::move(T)), gauss_(gauss_rule(T_.diagonal, T_.off_diagonal)), exact_(exact) {
  sums_.push_back(0);
  for (double w : gauss_.weights) sums_.push_back(sums_.back() + w);
}

double ProbeMeasure::below(double t) const {
  return sums_[std::upper_bound(gauss_.nodes.begin(), gauss_.nodes.end(), t) - gauss_.nodes.begin()];
}

// The rule with a node at t is that of T with a row more, coupled by the last beta, whose diagonal entry is
//
//   alpha = t - beta_{m-1}^2 / r_{m-1},  r_j = (t - alpha_j) - beta_{j-1}^2 / r_{j-1},
//
// r_j = beta_j p_{j+1}(t) / p_j(t) (Golub 1973). Any alpha gives a rule for which the inequalities hold, so
// that it may be kept within what can be computed with where t is next to a Gauss node.
Enclosure ProbeMeasure::bounds_below(double t) const {
  if (exact_)
    return {below(t), 1 - weights_from(gauss_, std::upper_bound(gauss_.nodes.begin(), gauss_.nodes.end(), t) -
                                                   gauss_.nodes.begin())};
  const auto& [alpha, beta] = T_;
  size_t m = alpha.size();
  double scale = largest_row_sum(alpha, beta) + std::abs(t), tiny = 1e-100 * scale, r = t - alpha[0];
  for (size_t j = 1; j < m; ++j)
    r = (t - alpha[j]) - beta[j - 1] * beta[j - 1] / (std::abs(r) < tiny ? tiny : r);
  double added = t - beta[m - 1] * beta[m - 1] / (std::abs(r) < tiny ? tiny : r);
  auto diagonal = alpha;
  diagonal.push_back(std::clamp(added, -1e4 * scale, 1e4 * scale));
  return bounds_from(gauss_rule(diagonal, beta), t);
}

double ProbeMeasure::integral(const std::function<double(double)>& f) const {
  double sum = 0;
  for (size_t i = 0; i < gauss_.nodes.size(); ++i)
    if (gauss_.weights[i] > 0) sum += gauss_.weights[i] * f(gauss_.nodes[i]);
  return sum;
}

Enclosure ProbeMeasure::bounds_of_integral(const std::function<double(double)>& f,
                                           const std::vector<double>& points) const {
  if (exact_) {
    double value = integral(f);
    return {value, value};
  }
  const auto& nodes = gauss_.nodes;
  std::vector<double> knots = points;
  for (double node : nodes)
    if (node > points.front() && node < points.back()) knots.push_back(node);
  std::sort(knots.begin(), knots.end());
  double before = f(knots.front()), end = f(knots.back()), low = end, high = end;
  for (size_t i = 1; i < knots.size(); ++i) {
    double here = f(knots[i]), rise = here - before, middle = (knots[i - 1] + knots[i]) / 2;
    size_t k = std::upper_bound(nodes.begin(), nodes.end(), middle) - nodes.begin();
    double L = k > 0 ? sums_[k - 1] : 0, U = k < nodes.size() ? sums_[k + 1] : 1;
    low -= rise > 0 ? U * rise : L * rise;
    high -= rise > 0 ? L * rise : U * rise;
    before = here;
  }
  return {low, high};
}

double gaussian_quadrature_error(int64_t nodes, double width, double interval) {
  if (!(interval > 0)) return 0;
  double w = 2 * width / interval, degree = 2.0 * static_cast<double>(nodes) - 1, best = 1;
  for (double s = 1e-3; s < 10; s *= 1.1) {
    double exponent = std::pow(std::sinh(s) / w, 2) / 2 - degree * s;
    if (exponent < 0) best = std::min(best, 4 * std::exp(exponent) / std::expm1(s));
  }
  return best;
}

double quadrature_error(int64_t nodes, const std::function<double(double)>& f, double low, double high) {
  int64_t degree = 2 * nodes - 1;
  double middle = (low + high) / 2, half = (high - low) / 2;
  std::vector<double> value(degree + 1), node(degree + 1);
  for (int64_t i = 0; i <= degree; ++i) {
    node[i] = std::cos(std::numbers::pi * static_cast<double>(i) / static_cast<double>(degree));
    value[i] = f(middle + half * node[i]);
  }
  // The barycentric formula at Chebyshev's extreme points (Salzer 1972): weights (-1)^i, halved at the ends.
  double worst = 0;
  int64_t steps = 10 * degree;
  for (int64_t s = 0; s <= steps; ++s) {
    double x =
        std::cos(std::numbers::pi * (static_cast<double>(s) + 0.37) / (static_cast<double>(steps) + 1));
    double above = 0, below = 0;
    for (int64_t i = 0; i <= degree; ++i) {
      double w = (i % 2 == 0 ? 1.0 : -1.0) * (i == 0 || i == degree ? 0.5 : 1.0) / (x - node[i]);
      above += w * value[i];
      below += w;
    }
    if (std::isfinite(above / below)) worst = std::max(worst, std::abs(f(middle + half * x) - above / below));
  }
  return 2 * worst;
}

}  // namespace osculant
