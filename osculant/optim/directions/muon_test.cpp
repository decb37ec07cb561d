#include "osculant/optim/directions/muon.h"

#include <gtest/gtest.h>
#include <torch/optim.h>

#include <cmath>

#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::normal;
using testing::relative_difference;

// torch.optim.Muon's _zeropower_via_newtonschulz, line by line, in the gradient's dtype in place of bfloat16.
Tensor zeropower_via_newtonschulz(const Tensor& grad, int64_t ns_steps) {
  double a = 3.4445, b = -4.7750, c = 2.0315;
  Tensor ortho_grad = grad.clone();
  if (grad.size(0) > grad.size(1)) ortho_grad = ortho_grad.t();
  ortho_grad = ortho_grad / ortho_grad.norm().clamp_min(1e-7);
  for (int64_t i = 0; i < ns_steps; ++i) {
    Tensor gram_matrix = ortho_grad.mm(ortho_grad.t());
    Tensor gram_update = at::addmm(gram_matrix, gram_matrix, gram_matrix, b, c);
    ortho_grad = at::addmm(ortho_grad, gram_update, ortho_grad, a);
  }
  return grad.size(0) > grad.size(1) ? ortho_grad.t() : ortho_grad;
}

TEST(Muon, orthogonalizes_as_newton_schulz_does) {
  for (auto [rows, columns] : {std::pair{7, 7}, {5, 30}, {30, 5}, {1, 6}, {6, 1}}) {
    Tensor M = normal({3, rows, columns}, 61);
    Tensor X = orthogonalized(M);
    for (int i = 0; i < 3; ++i) {
      EXPECT_LT(relative_difference(X[i], zeropower_via_newtonschulz(M[i], 5)), 1e-12) << rows << columns;
      Tensor values = at::linalg_svdvals(X[i]), before = at::linalg_svdvals(M[i]) / M[i].norm();
      EXPECT_LT(values.max().item<double>(), 1.21);
      EXPECT_GT(values.masked_select(before > 1e-2).min().item<double>(), 0.67);
    }
    EXPECT_TRUE(orthogonalized(M.narrow(0, 1, 1))[0].allclose(X[1], 1e-12, 1e-12));
    // bfloat16 has 8 bits, and five steps enlarge what they round off.
    EXPECT_LT(relative_difference(orthogonalized(M, 5, true), X), 0.1);
  }
  EXPECT_TRUE(orthogonalized(at::zeros({1, 3, 2})).equal(at::zeros({1, 3, 2})));
}

// torch.optim.Muon on matrices (kernels reshaped), torch::optim::AdamW on the others.
void expect_torchs_steps(const MuonOptions& o, double adam_rate, bool last_is_a_matrix = true) {
  auto ours = testing::small_cnn(), theirs = testing::small_cnn();
  Stepper stepper(ours, methods::muon(o), {.batch_size = full_batch});
  std::vector<Tensor> buffers, vectors;
  for (const auto& p : theirs.layout().unflatten(theirs.layout().theta().clone())) {
    buffers.push_back(at::zeros_like(p));
    vectors.push_back(p.clone().requires_grad_());
  }
  std::vector<Tensor> others{vectors[1], vectors[3], vectors[5]};
  if (!last_is_a_matrix) others.push_back(vectors[6]);
  torch::optim::AdamW adamw(others, torch::optim::AdamWOptions(adam_rate)
                                        .betas({o.adam_beta1, o.adam_beta2})
                                        .eps(o.adam_epsilon)
                                        .weight_decay(o.adam_weight_decay));
  testing::expect_same_steps(ours, theirs, stepper, 25, [&](auto& g, auto& x) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i].dim() == 1 || (i == 6 && !last_is_a_matrix)) {
        vectors[i].mutable_grad() = g[i];
        continue;
      }
      buffers[i].lerp_(g[i], 1 - o.momentum);
      Tensor update = o.nesterov ? g[i].lerp(buffers[i], o.momentum) : buffers[i];
      update = zeropower_via_newtonschulz(update.view({x[i].size(0), -1}), o.newton_schulz_steps);
      double A = double(update.size(0)), B = double(update.size(1));
      double adjusted = o.learning_rate * (o.scale == MuonScale::original ? std::sqrt(std::max(1.0, A / B))
                                                                          : 0.2 * std::sqrt(std::max(A, B)));
      x[i].mul_(1 - o.learning_rate * o.weight_decay);
      x[i].add_(update.reshape(x[i].sizes()), -adjusted);
    }
    adamw.step();
    for (size_t i = 0; i < x.size(); ++i)
      if (vectors[i].grad().defined()) x[i].copy_(vectors[i].detach());
  });
}

TEST(Muon, makes_torchs_steps) {
  expect_torchs_steps({.weight_decay = 0.1, .adam_weight_decay = 0.01}, 0.015 * 0.02);
  expect_torchs_steps({.nesterov = false, .newton_schulz_steps = 3, .adam_learning_rate = 0.01}, 0.01);
  expect_torchs_steps({.learning_rate = 3e-3, .scale = MuonScale::match_rms_adamw}, 3e-3);
}

TEST(Muon, leaves_large_matrices_to_adamw) {
  expect_torchs_steps({.max_dimension = 5, .adam_learning_rate = 0.01}, 0.01, false);
}

// In bfloat16 the singular values are near 1 as well, which is all that is asked of them.
TEST(Muon, trains_in_bfloat16) {
  for (auto precision : {MatrixPrecision::parameters, MatrixPrecision::bfloat16}) {
    Tensor X = normal({80, 96}, 62).to(at::kFloat).requires_grad_(), T = normal({80, 96}, 63).to(at::kFloat);
    auto objective = Objective::function({{"X", X}}, [=] { return (X - T).square().mean(); });
    double start = objective.value();
    Stepper stepper(objective, methods::muon({.learning_rate = 0.2, .precision = precision}));
    for (int i = 0; i < 150; ++i) stepper.step();
    EXPECT_LT(objective.value(), 0.1 * start);
    EXPECT_EQ(objective.layout().dtype(), at::kFloat);
  }
}

}  // namespace
}  // namespace osculant
