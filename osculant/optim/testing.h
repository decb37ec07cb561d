// Objectives that the tests of this folder share. Each call makes fresh parameters.
#pragma once

#include <torch/types.h>

#include <cmath>

#include "osculant/objective/linearization.h"
#include "osculant/objective/objective.h"
#include "osculant/optim/direction.h"

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

// One proposal at the objective's theta.
inline Step propose(Direction& direction, const Objective& objective, double damping = 0) {
  auto linearization = objective.linearize(direction.needs());
  RandomStream random(0, "test");
  Samples samples(objective, objective, random);
  StepContext context{*linearization, linearization->gradient(), samples, 1, random};
  direction.prepare(context);
  return direction.propose(context, Damping({.initial = damping}));
}

inline double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

}  // namespace osculant::testing
