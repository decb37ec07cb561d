#include "osculant/model/signal_propagation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace osculant {
namespace {

constexpr double negligible = 1e-12, boundless = 1e12;  // of variances

// Midpoints of equal cells over [-9, 9] and their Gaussian weights, summing to 1 but for 1e-18.
struct Grid {
  Tensor z, weights;
};

Grid gaussian_grid(int64_t cells) {
  double h = 18.0 / static_cast<double>(cells);
  Tensor z = (at::arange(cells, at::kDouble) + 0.5) * h - 9;
  return {z, (z.square() * -0.5).exp() * (h / std::sqrt(2 * std::numbers::pi))};
}

const Grid& line() {
  static const Grid grid = gaussian_grid(4000);
  return grid;
}

const Grid& coarse() {  // for means over two variables
  static const Grid grid = gaussian_grid(240);
  return grid;
}

Tensor slope(const Nonlinearity& phi, const Tensor& x) {
  at::AutoGradMode recording(true);
  Tensor at = x.detach().clone().requires_grad_();
  return torch::autograd::grad({phi(at).sum()}, {at})[0];
}

double gaussian_mean(const Tensor& values) {
  return values.dot(line().weights).item<double>();
}

class Stack {
 public:
  Stack(const Nonlinearity& phi, const StackInitialization& initialization)
      : phi_(phi), init_(initialization) {}

  double next_variance(double q) const {
    return init_.weight_variance * gaussian_mean(phi_(line().z * std::sqrt(q)).square()) +
           init_.bias_variance;
  }

  double chi(double q) const {
    return init_.weight_variance * gaussian_mean(slope(phi_, line().z * std::sqrt(q)).square());
  }

  // The limit of q <- next_variance(q) from 1.
  double variance() const {
    constexpr int most_steps = 4000;
    double q = 1, next = 1;
    for (int i = 0; i < most_steps; ++i) {
      next = next_variance(q);
      if (next < negligible) return 0;
      if (next > boundless || std::isnan(next)) return std::numeric_limits<double>::infinity();
      if (std::abs(next - q) <= 1e-13 * next) return next;
      std::swap(q, next);
    }
    if (std::abs(q - next) <= 1e-7 * q) return q;
    return q < next ? 0 : std::numeric_limits<double>::infinity();  // slower than any power, but without end
  }

  // Its derivative in q, E phi phi' z / sqrt(q) times s_w^2.
  double variance_slope(double q) const {
    Tensor x = line().z * std::sqrt(q);
    return init_.weight_variance * gaussian_mean(phi_(x) * slope(phi_, x) * line().z) / std::sqrt(q);
  }

  // Correlation of the next layer's h, when that of these is c; and its derivative in c.
  double next_correlation(double q, double c) const {
    auto [first, second] = pair(q, c);
    return (init_.weight_variance * mean_of_two(phi_(first), phi_(second)) + init_.bias_variance) / q;
  }
  double correlation_slope(double q, double c) const {
    auto [first, second] = pair(q, c);
    return init_.weight_variance * mean_of_two(slope(phi_, first), slope(phi_, second));
  }

 private:
  // u1 = sqrt(q) z1 and u2 = sqrt(q) (c z1 + sqrt(1 - c^2) z2)
  std::pair<Tensor, Tensor> pair(double q, double c) const {
    Tensor z1 = coarse().z.unsqueeze(1), z2 = coarse().z.unsqueeze(0);
    return {z1 * std::sqrt(q), (z1 * c + z2 * std::sqrt(std::max(0.0, 1 - c * c))) * std::sqrt(q)};
  }
  double mean_of_two(const Tensor& first, const Tensor& second) const {
    const Tensor& w = coarse().weights;
    return w.dot((first * second).mv(w)).item<double>();
  }

  const Nonlinearity& phi_;
  StackInitialization init_;
};

double length(double factor) {
  return 1 / std::abs(std::log(factor));
}

// The stable fixed point below 1 of a chaotic stack's correlation: its map lies above the diagonal at 0 and
// under it just below 1.
double chaotic_correlation(const Stack& stack, double q) {
  double low = -1, high = 1 - 1e-7;
  if (stack.next_correlation(q, 0) >= 0) low = 0;
  for (int i = 0; i < 50; ++i) {
    double c = (low + high) / 2;
    (stack.next_correlation(q, c) > c ? low : high) = c;
  }
  return (low + high) / 2;
}

}  // namespace

std::string_view name_of(SignalPhase phase) {
  switch (phase) {
    case SignalPhase::ordered:
      return "ordered";
    case SignalPhase::critical:
      return "critical";
    case SignalPhase::chaotic:
      return "chaotic";
  }
  return "?";
}

Nonlinearity nonlinearity(std::string_view activation) {
  if (activation == "tanh") return [](const Tensor& x) { return x.tanh(); };
  if (activation == "erf") return [](const Tensor& x) { return x.erf(); };
  if (activation == "relu") return [](const Tensor& x) { return x.relu(); };
  if (activation == "leaky_relu") return [](const Tensor& x) { return at::leaky_relu(x); };
  if (activation == "gelu") return [](const Tensor& x) { return at::gelu(x); };
  if (activation == "silu") return [](const Tensor& x) { return at::silu(x); };
  if (activation == "sigmoid") return [](const Tensor& x) { return x.sigmoid(); };
  if (activation == "softplus") return [](const Tensor& x) { return at::softplus(x); };
  if (activation == "elu") return [](const Tensor& x) { return at::elu(x); };
  if (activation == "identity") return [](const Tensor& x) { return x.clone(); };
  return nullptr;
}

SignalPropagation signal_propagation(const Nonlinearity& phi, const StackInitialization& initialization) {
  Stack stack(phi, initialization);
  SignalPropagation out;
  out.variance = stack.variance();
  double q = std::clamp(out.variance, negligible, boundless);
  out.chi = stack.chi(q);
  out.gradient_length = length(out.chi);
  out.correlation_length = out.gradient_length;
  if (std::abs(out.chi - 1) <= 1e-3) {
    out.phase = SignalPhase::critical;
  } else if (out.chi < 1) {
    out.phase = SignalPhase::ordered;
  } else {
    out.phase = SignalPhase::chaotic;
    if (out.variance > 0 && std::isfinite(out.variance)) {
      out.correlation = chaotic_correlation(stack, q);
      out.correlation_length = length(stack.correlation_slope(q, out.correlation));
    } else {
      out.correlation = out.correlation_length = std::numeric_limits<double>::quiet_NaN();
    }
  }
  return out;
}

std::optional<double> critical_weight_variance(const Nonlinearity& phi, double bias_variance) {
  auto chi = [&](double weight_variance) {
    Stack stack(phi, {weight_variance, bias_variance});
    return stack.chi(std::clamp(stack.variance(), negligible, boundless));
  };
  double low = 1e-2, high = 1e4;
  if (chi(low) > 1 || chi(high) < 1) return std::nullopt;
  while (high - low > 1e-9 * low) {
    double middle = std::sqrt(low * high);
    (chi(middle) < 1 ? low : high) = middle;
  }
  Stack stack(phi, {low, bias_variance});
  if (!std::isfinite(stack.variance()) || std::abs(chi(low) - 1) > 1e-4) return std::nullopt;
  return low;
}

namespace {

// Where gelu and silu are critical: the variance's fixed point is half-stable there, growing from above and
// shrinking from below, both as powers of depth (Roberts, Yaida & Hanin 2022, section 5.3.4). With chi =
// variance_slope = 1: q by bisection, then s_w^2 and s_b^2 follow.
std::optional<StackInitialization> half_stable(const Nonlinearity& phi) {
  Stack unit(phi, {1, 0});
  auto excess = [&](double q) { return unit.variance_slope(q) - unit.chi(q); };
  double low = 0.1, high = 100;
  if (excess(low) * excess(high) > 0) return std::nullopt;
  bool rising = excess(low) < 0;
  for (int i = 0; i < 60; ++i) {
    double q = std::sqrt(low * high);
    ((excess(q) < 0) == rising ? low : high) = q;
  }
  double weight_variance = 1 / unit.chi(low);
  double bias_variance = low - weight_variance * unit.next_variance(low);
  if (bias_variance < 0) return std::nullopt;
  return StackInitialization{weight_variance, bias_variance};
}

}  // namespace

std::optional<CriticalInitialization> critical_initialization(std::string_view activation,
                                                              double bias_variance) {
  if (activation == "sigmoid") {
    auto inner = critical_initialization("tanh", bias_variance);
    return CriticalInitialization{inner->stack, true};
  }
  Nonlinearity phi = nonlinearity(activation);
  if (!phi) return std::nullopt;
  Tensor x = at::tensor({-1.0, 1.0}, at::kDouble);
  bool homogeneous = (phi(2 * x) - 2 * phi(x)).abs().max().item<double>() == 0;
  if (homogeneous) return CriticalInitialization{{1 / Stack(phi, {1, 0}).chi(1), 0}, false};
  if (auto variance = critical_weight_variance(phi, bias_variance))
    return CriticalInitialization{{*variance, bias_variance}, false};
  if (auto stack = half_stable(phi)) return CriticalInitialization{*stack, false};
  return std::nullopt;
}

double gradient_gain(const Nonlinearity& phi, const StackInitialization& initialization, Wiring wiring,
                     int depth, double input_variance) {
  Stack stack(phi, initialization);
  double q = input_variance, log_gain = 0;
  for (int i = 0; i < depth; ++i) {
    double next = stack.next_variance(q), chi = stack.chi(q);
    switch (wiring) {
      case Wiring::plain:
        log_gain += std::log(chi);
        q = next;
        break;
      case Wiring::residual:
        log_gain += std::log1p(chi);
        q += next;
        break;
      case Wiring::normalized:
        log_gain += std::log(chi / next);
        q = 1;
        break;
    }
  }
  return std::exp(log_gain / 2);
}

}  // namespace osculant
