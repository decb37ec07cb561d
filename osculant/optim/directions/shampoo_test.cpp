#include "osculant/optim/directions/shampoo.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

// (A + ridge norm_2(A) I)^power by the singular value decomposition.
Tensor power_of(const Tensor& A, double ridge, double power) {
  auto [U, s, Vh] = at::linalg_svd(A);
  return U.mm(at::diag((s + ridge * s.max()).pow(power))).mm(U.t());
}

// Algorithm 2 of Shi et al. (2023) for one parameter of two dimensions or fewer, with a ridge as in Anil et
// al. (2020).
struct Reference {
  explicit Reference(const ShampooOptions& options) : o(options) {}
  const ShampooOptions& o;
  Tensor L, R, L_root, R_root, filtered, squares;
  int64_t t = 0;

  void update(const Tensor& grad, Tensor& x) {
    bool left = grad.size(0) <= o.max_dimension;
    bool right = grad.dim() == 2 && grad.size(1) <= o.max_dimension;
    Tensor G = grad.view({grad.size(0), -1});
    if (t == 0) {
      L = at::zeros({G.size(0), G.size(0)}, G.options());
      R = at::zeros({G.size(1), G.size(1)}, G.options());
      filtered = at::zeros_like(G);
      squares = at::zeros_like(G);
    }
    ++t;
    L = o.beta2 * L + (1 - o.beta2) * G.mm(G.t());
    R = o.beta2 * R + (1 - o.beta2) * G.t().mm(G);
    squares = o.beta2 * squares + (1 - o.beta2) * G * G;
    filtered = o.beta1 * filtered + (1 - o.beta1) * G;
    double correction = 1 - std::pow(o.beta2, double(t));
    Tensor M = filtered / (1 - std::pow(o.beta1, double(t)));
    if (t % o.interval == (o.interval == 1 ? 0 : 1)) {
      double power = left && right ? -0.25 : -0.5;
      L_root = left ? power_of(L / correction, o.ridge, power) : at::eye(G.size(0), G.options());
      R_root = right ? power_of(R / correction, o.ridge, power) : at::eye(G.size(1), G.options());
    }
    Tensor grafted = M;
    if (o.graft == Graft::adam) grafted = M / ((squares / correction).sqrt() + o.epsilon);
    Tensor P = L_root.mm(M).mm(R_root);
    if (!left && !right)
      P = grafted;
    else if (o.graft != Graft::none)
      P = P * grafted.norm() / P.norm();
    x.sub_(o.learning_rate * (P.view(x.sizes()) + o.weight_decay * x));
  }
};

void expect_reference_steps(const ShampooOptions& options) {
  auto ours = testing::small_cnn(), theirs = testing::small_cnn();
  Stepper stepper(ours, methods::shampoo(options), {.batch_size = full_batch});
  std::vector<Reference> references(theirs.layout().parameters().size(), Reference(options));
  testing::expect_same_steps(ours, theirs, stepper, 25, [&](auto& g, auto& x) {
    for (size_t i = 0; i < x.size(); ++i) {
      Tensor p = x[i].dim() > 2 ? x[i].view({x[i].size(0), -1}) : x[i];
      references[i].update(g[i].view(p.sizes()), p);
    }
  });
}

TEST(Shampoo, makes_the_steps_of_its_papers) {
  expect_reference_steps({});
  expect_reference_steps({.learning_rate = 0.02, .beta2 = 0.9, .graft = Graft::sgd, .interval = 1});
  expect_reference_steps({.learning_rate = 0.02, .ridge = 1e-4, .graft = Graft::none, .interval = 4});
  expect_reference_steps({.weight_decay = 0.1, .interval = 3, .max_dimension = 4});  // U one-sided
  expect_reference_steps({.max_dimension = 3});                                      // Adam
}

TEST(Shampoo, survives_factors_that_overflow) {
  auto objective = testing::small_cnn();
  auto direction = shampoo_direction({.graft = Graft::none, .interval = 1});
  auto g = objective.value_and_gradient().second;
  Tensor before = testing::propose(*direction, objective, g).displacement;
  auto step = testing::propose(*direction, objective, g * 1e160);  // G G' is not finite
  EXPECT_EQ(step.note, "eigh failed, the last inverse root is kept");
  // The roots of the first step, and the mean that both gradients give, along the same direction.
  Tensor along = step.displacement / step.displacement.abs().max();
  EXPECT_LT(testing::relative_difference(along, before / before.abs().max()), 1e-10);
}

}  // namespace
}  // namespace osculant
