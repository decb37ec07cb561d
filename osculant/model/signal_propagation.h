#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <string_view>

namespace osculant {

using at::Tensor;

// Signals in a stack of wide layers h -> W phi(h) + b at its initialisation, W_ij ~ N(0, weight_variance /
// fan_in), b_i ~ N(0, bias_variance): the mean field theory (Poole et al. 2016; Schoenholz et al. 2017).
//
// All means are over z ~ N(0, 1), by the midpoint rule, which for smooth phi is exact to rounding, and for
// relu as well, its kink being a cell's border.

// phi, entry by entry on float64 tensors, by operations that autograd knows.
using Nonlinearity = std::function<Tensor(const Tensor&)>;
// By the names of activations ("tanh", "erf", "relu", "leaky_relu", "gelu", "silu", "sigmoid", "softplus",
// "elu", "identity"); empty for others.
Nonlinearity nonlinearity(std::string_view activation);

struct StackInitialization {
  double weight_variance = 1;  // s_w^2
  double bias_variance = 0;    // s_b^2
};

enum class SignalPhase {
  ordered,   // chi < 1: inputs become alike, gradients vanish
  critical,  // abs(chi - 1) <= 1e-3
  chaotic,   // chi > 1: nearby inputs part, gradients explode
};
std::string_view name_of(SignalPhase phase);

struct SignalPropagation {
  // Variance of h that depth leads to from 1, q = s_w^2 E phi(sqrt(q) z)^2 + s_b^2; 0 or infinite where it
  // shrinks or grows without end.
  double variance = 0;
  // chi = s_w^2 E phi'(sqrt(q) z)^2: what a layer multiplies the squared gradient by, on the way back, and
  // squared differences of nearby inputs on the way forward.
  double chi = 0;
  double gradient_length = 0;  // layers for a factor e of the squared gradient, 1 / abs(ln chi)
  // Correlation c* of the h of two different inputs that depth leads to, and the layers within which the
  // distance from it falls by e: 1 / abs(ln(s_w^2 E phi'(u1) phi'(u2))) at c*.
  double correlation = 1;
  double correlation_length = 0;
  SignalPhase phase = SignalPhase::critical;
};
SignalPropagation signal_propagation(const Nonlinearity& phi, const StackInitialization& initialization);

// The weight variance with chi = 1 at this bias variance; nothing where none between 1e-2 and 1e4 has it, or
// where the variance of h would have no bound.
std::optional<double> critical_weight_variance(const Nonlinearity& phi, double bias_variance);

struct CriticalInitialization {
  StackInitialization stack;
  // The values are of tanh layers: a stack of sigmoids is one of tanh in other coordinates, tanh(x) = 2
  // sigmoid(2x) - 1, in which its biases follow its weights. With independent biases it is out of reach.
  bool in_tanh_coordinates = false;
};
// By an activation's name. For relu, leaky_relu and identity, which have no variance of their own at
// criticality, He's value without biases; for gelu and silu both variances of their half-stable point,
// whatever `bias_variance` (Roberts, Yaida & Hanin 2022, section 5.3.4). Nothing for activations that are not
// known or have none.
std::optional<CriticalInitialization> critical_initialization(std::string_view activation,
                                                              double bias_variance = 0.05);

// How layers are joined.
enum class Wiring {
  plain,       // h <- W phi(h) + b
  residual,    // h <- h + W phi(h) + b                              (Yang & Schoenholz 2017)
  normalized,  // h <- (W phi(h) + b) / its root mean square         (layer norm without its mean)
};
// What `depth` layers multiply the norm of a gradient by on its way back, when the first h has the variance
// `input_variance`; not the limit of depth, but layer by layer.
double gradient_gain(const Nonlinearity& phi, const StackInitialization& initialization, Wiring wiring,
                     int depth, double input_variance = 1);

}  // namespace osculant
