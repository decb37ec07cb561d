#include "osculant/optim/directions/soap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/model/zoo.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

// The authors' soap.py (github.com/nikhilvyas/SOAP), method by method, for one parameter of two dimensions or
// fewer; a basis that is undefined stands for the empty list they keep for a side above the limit.
struct Reference {
  explicit Reference(const SoapOptions& options) : o(options) {}
  const SoapOptions& o;
  Tensor exp_avg, exp_avg_sq;
  Tensor GG[2], Q[2];
  int64_t step = 0;
  bool initialized = false;

  Tensor project(Tensor grad) const {
    if (Q[0].defined()) grad = at::tensordot(Q[0], grad, {0}, {0});
    if (Q[1].defined()) grad = at::tensordot(grad, Q[1], {1}, {0});
    return grad;
  }
  Tensor project_back(Tensor grad) const {
    if (Q[0].defined()) grad = at::tensordot(Q[0], grad, {1}, {0});
    if (Q[1].defined()) grad = at::tensordot(grad, Q[1], {1}, {1});
    return grad;
  }

  void update_preconditioner(const Tensor& grad) {
    if (initialized) exp_avg = project_back(exp_avg);
    double shampoo_beta = o.factor_beta.value_or(o.beta2);
    for (int idx = 0; idx < 2; ++idx)
      if (GG[idx].defined()) GG[idx].lerp_(at::tensordot(grad, grad, {1 - idx}, {1 - idx}), 1 - shampoo_beta);
    for (int idx = 0; idx < 2; ++idx) {
      if (!GG[idx].defined()) continue;
      if (!initialized) {
        Q[idx] = std::get<1>(at::linalg_eigh(GG[idx])).flip({1});
      } else if (step > 0 && step % o.interval == 0) {
        Tensor est_eig = at::diag(Q[idx].t().mm(GG[idx]).mm(Q[idx]));
        Tensor sort_idx = est_eig.argsort(0, true);
        exp_avg_sq = exp_avg_sq.index_select(idx, sort_idx);
        Q[idx] = std::get<0>(at::linalg_qr(GG[idx].mm(Q[idx].index_select(1, sort_idx))));
      }
    }
    if (step > 0) exp_avg = project(exp_avg);
    initialized = true;
  }

  void update(const Tensor& grad, Tensor& p) {
    if (!initialized) {
      exp_avg = at::zeros_like(grad);
      exp_avg_sq = at::zeros_like(grad);
      for (int idx = 0; idx < 2 && grad.dim() == 2; ++idx)
        if (grad.size(idx) <= o.max_dimension)
          GG[idx] = at::zeros({grad.size(idx), grad.size(idx)}, grad.options());
      update_preconditioner(grad);
      return;  // first step is skipped so that we never use the current gradients in the projection
    }
    Tensor grad_projected = project(grad);
    ++step;
    exp_avg.mul_(o.beta1).add_(grad_projected, 1 - o.beta1);
    exp_avg_sq.mul_(o.beta2).add_(grad_projected.square(), 1 - o.beta2);
    Tensor denom = exp_avg_sq.sqrt().add_(o.epsilon);
    double t = double(step);
    double step_size = o.learning_rate * std::sqrt(1 - std::pow(o.beta2, t)) / (1 - std::pow(o.beta1, t));
    p.add_(project_back(exp_avg / denom), -step_size);
    p.add_(p, -o.learning_rate * o.weight_decay);
    update_preconditioner(grad);
  }
};

void expect_authors_steps(const SoapOptions& options) {
  auto ours = testing::small_cnn(), theirs = testing::small_cnn();
  Stepper stepper(ours, methods::soap(options), {.batch_size = full_batch});
  std::vector<Reference> references(theirs.layout().parameters().size(), Reference(options));
  // The first step moves nothing: it is made before the comparison of paths.
  auto matrix = [](const Tensor& x) { return x.dim() > 2 ? x.view({x.size(0), -1}) : x; };
  auto g = theirs.layout().unflatten(theirs.value_and_gradient().second);
  Tensor unused;
  for (size_t i = 0; i < g.size(); ++i) references[i].update(matrix(g[i]), unused);
  Tensor start = ours.layout().theta().clone();
  auto first = stepper.step();
  EXPECT_FALSE(first.accepted);
  EXPECT_TRUE(first.finite);
  EXPECT_THAT(first.note, HasSubstr("the first gradient makes the bases"));
  EXPECT_TRUE(ours.layout().theta().equal(start));
  testing::expect_same_steps(ours, theirs, stepper, 25, [&](auto& g, auto& x) {
    for (size_t i = 0; i < x.size(); ++i) {
      Tensor p = matrix(x[i]);
      references[i].update(matrix(g[i]), p);
    }
  });
}

// max_dimension = 4: U [6, 4] is rotated on the right alone. On the left its factor would be singular, and
// any basis of the null space right. epsilon = 1e-3: with less, Adam enlarges entries that are rounding
// alone.
TEST(Soap, makes_the_authors_steps) {
  expect_authors_steps({.learning_rate = 0.1, .epsilon = 1e-3, .max_dimension = 4});
  expect_authors_steps({.learning_rate = 0.05,
                        .beta1 = 0.9,
                        .beta2 = 0.97,
                        .factor_beta = 0.8,
                        .epsilon = 1e-3,
                        .weight_decay = 0,
                        .interval = 3,
                        .max_dimension = 4});
  expect_authors_steps({.learning_rate = 0.1, .epsilon = 1e-3, .interval = 1, .max_dimension = 4});
  expect_authors_steps({.max_dimension = 3});  // Adam
}

// G G' beyond the range of float64: the bases are kept, and numbers stay finite.
TEST(Soap, survives_factors_that_overflow) {
  auto objective = testing::small_cnn();
  auto direction = soap_direction({.interval = 1, .max_dimension = 4});
  auto g = objective.value_and_gradient().second;
  testing::propose(*direction, objective, g);
  EXPECT_EQ(testing::propose(*direction, objective, g).note, "");
  auto step = testing::propose(*direction, objective, g * 1e160);
  EXPECT_EQ(step.note, "QR failed, the last basis is kept");
  EXPECT_TRUE(at::isfinite(testing::propose(*direction, objective, g).displacement).all().item<bool>());
}

// Adam gives entries that are rounding alone a step as long as any other, so that directions in which the
// first gradients have nothing differ.
TEST(Soap, in_bfloat16_makes_nearly_the_same_steps) {
  Model model = mlp({.widths = {80, 70, 5}, .activation = Activation::tanh});
  Tensor x = RandomStream(1, "inputs").normal({64, 80}, at::kFloat);
  Objective objective(model, MeanSquaredError(), Dataset(x, x.slice(1, 0, 5)).full());
  auto exact = soap_direction({.interval = 2, .precision = MatrixPrecision::parameters});
  auto reduced = soap_direction({.interval = 2, .precision = MatrixPrecision::bfloat16});
  auto g = objective.value_and_gradient().second;
  for (int i = 0; i < 6; ++i) {
    Tensor noise = RandomStream(static_cast<uint64_t>(i), "noise").normal({g.numel()}, at::kFloat);
    Tensor noisy = g + noise * (g.norm() / noise.norm());
    Tensor a = testing::propose(*exact, objective, noisy).displacement;
    Tensor b = testing::propose(*reduced, objective, noisy).displacement;
    if (i == 0) continue;  // makes the bases alone
    EXPECT_GT((a.dot(b) / (a.norm() * b.norm())).item<double>(), 0.85) << "step " << i;
    EXPECT_FALSE(at::equal(a, b)) << "products were made in bfloat16";
  }
}

}  // namespace
}  // namespace osculant
