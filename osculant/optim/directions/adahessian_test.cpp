#include "osculant/optim/directions/adahessian.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/curvature/curvature.h"
#include "osculant/optim/directions/hessian_diagonal.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::normal;

TEST(HessianDiagonal, has_the_diagonal_for_its_expectation) {
  auto q = testing::quadratic(torch::linspace(-1, 3, 8, testing::f64()));
  auto linearization = q.objective.linearize({.gradient = true, .hessian = true});
  RandomStream random(4, "test");
  Samples samples(q.objective, q.objective, random);
  StepContext context{*linearization, linearization->gradient(), samples, 1, random};
  int64_t probes = 20000;
  Tensor D = hutchinson_diagonal(context, probes);
  // The variance of an entry is the sum of the squares of its row's others.
  Tensor variance = (q.A.square().sum(1) - q.A.diagonal().square()) / double(probes);
  EXPECT_LT(((D - q.A.diagonal()) / variance.sqrt()).abs().max().item<double>(), 4.5);
}

// optim_adahessian.py of the authors (github.com/amirgholami/adahessian), with the dense Hessian and the
// signs that our stream draws.
void expect_authors_steps(const AdahessianOptions& o) {
  auto ours = testing::small_cnn(), theirs = testing::small_cnn();
  Stepper stepper(ours, methods::adahessian(o), {.batch_size = full_batch, .seed = 5});
  RandomStream stream(5, "method");
  int64_t step = 0;
  std::vector<Tensor> exp_avg, exp_hessian_diag_sq, hut_traces;
  for (const auto& p : theirs.layout().leaves()) {
    exp_avg.push_back(at::zeros_like(p.detach()));
    exp_hessian_diag_sq.push_back(at::zeros_like(p.detach()));
  }
  testing::expect_same_steps(ours, theirs, stepper, 25, [&](auto& g, auto& x) {
    if (step % o.interval == 0) {
      Tensor H = dense(Hessian(theirs)).matrix, v = stream.rademacher({H.size(0), o.probes}, H.options());
      hut_traces.clear();
      for (const Tensor& hv : theirs.layout().unflatten((v * H.mm(v)).mean(1).abs())) {
        bool kernel = hv.dim() == 4 && o.spatial_averaging;
        hut_traces.push_back(kernel ? at::mean(hv, {2, 3}, true) : hv);
      }
    }
    ++step;
    for (size_t i = 0; i < x.size(); ++i) {
      exp_avg[i].mul_(o.beta1).add_(g[i], 1 - o.beta1);
      exp_hessian_diag_sq[i].mul_(o.beta2).add_((1 - o.beta2) * hut_traces[i] * hut_traces[i]);
      double bias_correction1 = 1 - std::pow(o.beta1, double(step)),
             bias_correction2 = 1 - std::pow(o.beta2, double(step)), k = o.hessian_power;
      Tensor denom =
          exp_hessian_diag_sq[i].sqrt().pow(k) / std::pow(std::sqrt(bias_correction2), k) + o.epsilon;
      x[i] = x[i] - o.learning_rate / bias_correction1 * (exp_avg[i] / denom + o.weight_decay * x[i]);
    }
  });
}

TEST(Adahessian, makes_the_authors_steps) {
  expect_authors_steps({});
  expect_authors_steps({.learning_rate = 0.05, .beta2 = 0.9, .hessian_power = 0.5, .weight_decay = 0.1});
  expect_authors_steps({.probes = 3, .interval = 4, .spatial_averaging = false});
}

// x'Ax/2 costs a gradient that can be differentiated again and a product every `interval` steps, and a
// gradient at the others.
TEST(Adahessian, pays_for_products_when_it_takes_them) {
  auto q = testing::quadratic(torch::linspace(1, 3, 8, testing::f64()));
  Stepper stepper(q.objective, methods::adahessian({.probes = 2, .interval = 3}));
  double equivalents = 0;
  for (int i = 0; i < 7; ++i) equivalents = stepper.step().gradient_equivalents;
  EXPECT_NEAR(equivalents, 3 * (1.1 + 2 * 1.5) + 4, 1e-12);
}

// A gradient that is finite where the Hessian is not: 0^(3/2) has the second derivative 1/sqrt(0).
TEST(Adahessian, keeps_the_last_diagonal_where_the_next_is_not_finite) {
  auto kink = std::make_shared<bool>(false);
  Tensor x = torch::ones({3}, testing::f64()).requires_grad_();
  auto objective = Objective::function({{"x", x}}, [=] {
    Tensor f = x.square().sum();
    return *kink ? f + (x - x.detach()).pow(1.5).sum() : f;
  });
  Stepper stepper(objective, methods::adahessian());
  EXPECT_EQ(stepper.step().note, "");
  *kink = true;
  auto record = stepper.step();
  EXPECT_TRUE(record.accepted && record.finite);
  EXPECT_EQ(record.note, "the Hessian's diagonal is not finite, the last one is kept");
  *kink = false;
  for (int i = 0; i < 200; ++i) stepper.step();
  EXPECT_LT(objective.value(), 1e-3);
}

}  // namespace
}  // namespace osculant
