// Objectives that the tests of this folder share. Each call makes fresh parameters.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/objective/linearization.h"
#include "osculant/objective/objective.h"
#include "osculant/optim/direction.h"
#include "osculant/optim/stepper.h"

namespace osculant::testing {

inline at::TensorOptions f64() {
  return torch::kFloat64;
}

// Tensors drawn from a generator of their own: tests do not depend on each other's order.
inline Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, f64());
}

// f(x) = x'Ax/2 - b'x with A = Q diag(values) Q'.
struct Quadratic {
  Tensor A, b;
  Objective objective;
};
inline Quadratic quadratic(const Tensor& values, uint64_t seed = 1) {
  int64_t n = values.numel();
  Tensor Q = std::get<0>(at::linalg_qr(normal({n, n}, seed)));
  Tensor A = Q.matmul(at::diag(values)).matmul(Q.t()), b = A.matmul(normal({n}, seed + 1));
  Tensor x = torch::zeros({n}, f64()).requires_grad_();
  return {A, b, Objective::function({{"x", x}}, [=] { return x.dot(A.matmul(x)) / 2 - b.dot(x); })};
}

// (100 (y - x^2)^2 + (1 - x)^2) / 2, as a mean of two squares, from (-1.2, 1). Minimum 0 at (1, 1).
inline Objective rosenbrock() {
  Tensor p = torch::tensor({-1.2, 1.0}, f64()).requires_grad_();
  Model model({{"p", p}}, [p](const Model::Inputs&) -> Model::Outputs {
    return {torch::stack({10 * (p[1] - p[0] * p[0]), 1 - p[0]}).unsqueeze(0)};
  });
  return Objective(model, MeanSquaredError(),
                   Dataset(torch::zeros({1, 1}, f64()), torch::zeros({1, 2}, f64())).full());
}

// z = X w against targets, mean squared error; column i of X scaled by scales[i].
inline Objective least_squares(const Tensor& scales, int64_t batch_size = 0, int64_t examples = 60) {
  Tensor X = normal({examples, scales.numel()}, 5) * scales;
  Tensor y = X.matmul(normal({scales.numel(), 1}, 6)) + 0.01 * normal({examples, 1}, 7);
  Tensor w = at::zeros({scales.numel(), 1}, f64()).requires_grad_();
  Model model({{"w", w}}, [w](const Model::Inputs& x) -> Model::Outputs { return {x[0].matmul(w)}; });
  Dataset data(X, y);
  return Objective(model, MeanSquaredError(), batch_size > 0 ? data.batches(batch_size) : data.full());
}

// 2-6-1, tanh, on 48 points of x y + x + y.
inline Model small_net(uint64_t seed = 3, at::ScalarType dtype = at::kDouble) {
  auto leaf = [&](at::IntArrayRef shape, uint64_t stream, double bound) {
    return (normal(shape, 10 * seed + stream).clamp(-2, 2) * (bound / 2)).to(dtype).requires_grad_();
  };
  Tensor W = leaf({6, 2}, 0, 0.7), b = leaf({6}, 1, 0.7), V = leaf({1, 6}, 2, 0.4), c = leaf({1}, 3, 0.4);
  return Model({{"0.weight", W}, {"0.bias", b}, {"2.weight", V}, {"2.bias", c}},
               [=](const Model::Inputs& x) -> Model::Outputs {
                 return {at::linear(at::tanh(at::linear(x[0], W, b)), V, c)};
               });
}
inline Dataset small_data() {
  Tensor X = normal({48, 2}, 11);
  return Dataset(X, X.prod(1, true) + X.sum(1, true));
}
inline Objective small_mlp(int64_t batch_size = 48) {
  return Objective(small_net(), MeanSquaredError(), small_data().batches(batch_size));
}

// A convolution, its kernel [4, 1, 2, 2], two tanh layers [4, 4] and a linear one [6, 4], on 40 images of 3 x
// 3: every layer's matrix has four columns, and gradients of full rank.
inline Objective small_cnn() {
  auto leaf = [](at::IntArrayRef shape, uint64_t seed) {
    return (0.5 * normal(shape, seed)).requires_grad_();
  };
  Tensor K = leaf({4, 1, 2, 2}, 51), k = leaf({4}, 52), W = leaf({4, 4}, 53), b = leaf({4}, 54),
         V = leaf({4, 4}, 55), c = leaf({4}, 56), U = leaf({6, 4}, 57);
  Model model({{"K", K}, {"k", k}, {"W", W}, {"b", b}, {"V", V}, {"c", c}, {"U", U}},
              [=](const Model::Inputs& x) -> Model::Outputs {
                Tensor h = at::tanh(at::conv2d(x[0], K, k)).mean({2, 3});
                h = at::tanh(at::linear(at::tanh(at::linear(h, W, b)), V, c));
                return {at::linear(h, U)};
              });
  Dataset data(normal({40, 1, 3, 3}, 58), normal({40, 6}, 59));
  return Objective(model, MeanSquaredError(), data.full());
}

// A step of `method` and, on a copy of the objective, of its transcription: (gradient, theta) -> new theta,
// parameter by parameter. They are to agree after each of `steps`.
template <class Transcription>
void expect_same_steps(const Objective& ours, const Objective& theirs, Stepper& stepper, int steps,
                       Transcription transcription) {
  auto& layout = theirs.layout();
  Tensor start = layout.theta().clone();
  for (int i = 1; i <= steps; ++i) {
    auto g = layout.unflatten(theirs.value_and_gradient().second),
         x = layout.unflatten(layout.theta().clone());
    transcription(g, x);
    layout.assign(layout.flatten(x));
    stepper.step();
    Tensor difference = ours.layout().theta() - layout.theta(), path = layout.theta() - start;
    ASSERT_LE(difference.norm().item<double>(), 1e-10 * path.norm().item<double>()) << "step " << i;
  }
  ASSERT_GT((layout.theta() - start).norm().item<double>(), 1e-2);
}

// One proposal at the objective's theta.
inline Step propose(Direction& direction, const Objective& objective, double damping = 0,
                    bool tries = false) {
  auto linearization = objective.linearize(direction.needs());
  RandomStream random(0, "test");
  Samples samples(objective, objective, random);
  ForwardState state(objective);
  auto before = state.snapshot();
  auto start = objective.layout().snapshot();
  Trials trials(objective, start, linearization->value(), linearization->gradient(), state, before);
  StepContext context{*linearization, linearization->gradient(), samples, 1, random};
  if (tries) context.trials = &trials;
  direction.prepare(context);
  return direction.propose(context, Damping({.initial = damping}));
}

// The same for a gradient given.
inline Step propose(Direction& direction, const Objective& objective, const Tensor& gradient) {
  auto linearization = objective.linearize(direction.needs());
  RandomStream random(0, "test");
  Samples samples(objective, objective, random);
  StepContext context{*linearization, gradient, samples, 1, random};
  direction.prepare(context);
  return direction.propose(context, Damping({.initial = 0}));
}

inline double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

}  // namespace osculant::testing
