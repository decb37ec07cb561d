#include "osculant/optim/directions/sophia.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/optim/directions/hessian_diagonal.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

// Algorithm 3 of Liu et al. (2023), with the dense Hessian and the signs that our stream draws (algorithm 1),
// or with targets from N(z, 1/2), of which (z - y)^2 is the negative log likelihood (algorithm 2).
void expect_papers_steps(const SophiaOptions& o, double gamma) {
  auto ours = testing::small_cnn(), theirs = testing::small_cnn();
  Stepper stepper(ours, methods::sophia(o), {.batch_size = full_batch, .seed = 5});
  RandomStream stream(5, "method");
  int64_t t = 0, n = theirs.parameters();
  std::vector<Tensor> m, h, h_hat;
  for (const auto& p : theirs.layout().leaves()) {
    m.push_back(at::zeros_like(p.detach()));
    h.push_back(at::zeros_like(p.detach()));
  }
  auto estimator = [&] {
    if (o.estimator == SophiaEstimator::hutchinson) {
      Tensor u = stream.rademacher({n, 1}, testing::f64()).squeeze(1);
      return u * dense(Hessian(theirs)).matrix.mv(u);
    }
    const Term& term = theirs.terms()[0];
    Batch batch = term.data.batch(0);
    Tensor z = term.model.forward(batch)[0].detach();
    Tensor y = z + at::erfinv(2 * stream.uniform(z.sizes(), at::kDouble) - 1);
    batch.targets[0].tensor = y;
    Tensor g = theirs.on(batch).value_and_gradient().second;
    return double(z.numel()) * g * g;  // the loss is a mean over examples and outputs
  };
  testing::expect_same_steps(ours, theirs, stepper, 25, [&](auto& g, auto& x) {
    ++t;
    bool estimates = o.interval == 1 || t % o.interval == 1;
    if (estimates) h_hat = theirs.layout().unflatten(estimator());
    for (size_t i = 0; i < x.size(); ++i) {
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * g[i];
      if (estimates) h[i] = o.beta2 * h[i] + (1 - o.beta2) * h_hat[i];
      x[i] = x[i] - o.learning_rate * o.weight_decay * x[i];
      Tensor ratio = m[i] / at::maximum(gamma * h[i], at::full_like(h[i], o.epsilon));
      x[i] = x[i] -
             o.learning_rate * at::minimum(at::maximum(ratio, -at::ones_like(ratio)), at::ones_like(ratio));
    }
  });
}

TEST(Sophia, makes_the_steps_of_its_paper) {
  using enum SophiaEstimator;
  expect_papers_steps({.learning_rate = 0.01}, 0.01);
  expect_papers_steps({.learning_rate = 0.01, .gamma = 50, .weight_decay = 0.2, .interval = 3}, 50);
  expect_papers_steps({.learning_rate = 0.01, .estimator = gauss_newton_bartlett}, 0.05);
  expect_papers_steps(
      {.learning_rate = 0.01, .beta2 = 0.9, .estimator = gauss_newton_bartlett, .gamma = 5, .interval = 1},
      5);
}

TEST(Sophia, draws_targets_whose_gradients_have_gauss_newtons_diagonal) {
  Dataset data = testing::small_data();
  Tensor labels = at::arange(48, at::kLong) % 2;
  auto heads = testing::small_net();
  auto two_classes = heads.with_forward([heads](const Model::Inputs& x) -> Model::Outputs {
    Tensor z = heads.forward(x)[0];
    return {at::cat({z, -2 * z}, 1)};
  });
  Batch classified{{{"", data.examples().inputs[0].tensor}}, {{"", labels}}, {}};
  Batch weighted = classified;
  weighted.weights = at::linspace(0, 2, 48, testing::f64());
  std::vector<Objective> objectives{
      Objective(two_classes, CrossEntropy(), Dataset(classified).batches(20)),
      Objective({Term{two_classes, CrossEntropy(), Dataset(weighted).batches(20), 3}}),
      testing::small_mlp(48)};
  for (const auto& objective : objectives) {
    auto linearization = objective.linearize({.gradient = true});
    RandomStream random(4, "test");
    Samples samples(objective, objective, random);
    StepContext context{*linearization, linearization->gradient(), samples, 1, random};
    int draws = 1500;
    Tensor sum = at::zeros({objective.parameters()}, testing::f64()), squares = at::zeros_like(sum);
    double before = objective.ledger().gradient_equivalents();
    for (int i = 0; i < draws; ++i) {
      Tensor d = gauss_newton_bartlett_diagonal(context);
      sum += d;
      squares += d * d;
    }
    EXPECT_NEAR(objective.ledger().gradient_equivalents() - before, draws * (1 + 1.0 / 3), 1e-6);
    Tensor mean = sum / draws, deviation = ((squares / draws - mean * mean) / draws).sqrt();
    Tensor expected = dense(GaussNewton(objective)).matrix.diagonal();
    EXPECT_LT(((mean - expected) / deviation).abs().max().item<double>(), 4.5);
  }
}

TEST(Sophia, refuses_losses_without_a_distribution) {
  Method method = methods::sophia({.estimator = SophiaEstimator::gauss_newton_bartlett});
  Objective huber(testing::small_net(), Huber(), testing::small_data().full());
  EXPECT_THAT(message_of([&] { Stepper(huber, method); }, ErrorKind::usage),
              HasSubstr("gauss_newton_bartlett: the loss huber is the negative log likelihood of no"));
  EXPECT_THAT(
      message_of([&] { Stepper(testing::quadratic(torch::ones({2}, testing::f64())).objective, method); },
                 ErrorKind::usage),
      HasSubstr("needs a single data term"));
}

TEST(Sophia, keeps_the_last_diagonal_where_the_next_is_not_finite) {
  auto kink = std::make_shared<bool>(false);
  Tensor x = torch::ones({3}, testing::f64()).requires_grad_();
  auto objective = Objective::function({{"x", x}}, [=] {
    Tensor f = x.square().sum();
    return *kink ? f + (x - x.detach()).pow(1.5).sum() : f;
  });
  Stepper stepper(objective, methods::sophia({.learning_rate = 0.02, .interval = 1}));
  EXPECT_EQ(stepper.step().note, "");
  *kink = true;
  auto record = stepper.step();
  EXPECT_TRUE(record.accepted && record.finite);
  EXPECT_EQ(record.note, "the curvature's diagonal is not finite, the last one is kept");
  *kink = false;
  for (int i = 0; i < 300; ++i) stepper.step();
  EXPECT_LT(objective.value(), 0.01);
}

}  // namespace
}  // namespace osculant
