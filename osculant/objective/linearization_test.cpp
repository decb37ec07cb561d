#include "osculant/objective/linearization.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"

namespace osculant {
namespace {

using torch::autograd::grad;

constexpr int64_t kExamples = 11;  // in batches of 4: the last one is ragged

torch::nn::Sequential small_net(bool norm = false) {
  torch::manual_seed(3);
  torch::nn::Sequential net(torch::nn::Linear(3, 5), torch::nn::Tanh());
  if (norm) net->push_back(torch::nn::LayerNorm(torch::nn::LayerNormOptions({5})));
  net->push_back(torch::nn::Linear(5, 4));
  net->to(torch::kFloat64);
  return net;
}

struct Problem {
  torch::nn::Sequential net;
  Tensor inputs, labels;
  Objective objective;

  static Problem make(torch::nn::Sequential net, int64_t batch_size = 4) {
    torch::manual_seed(7);
    auto x = at::randn({kExamples, 3}, at::kDouble);
    auto y = at::randint(4, {kExamples}, at::kLong);
    return {net, x, y, Objective(Model(net), CrossEntropy(), Dataset(x, y).batches(batch_size))};
  }
  Tensor loss() { return at::cross_entropy_loss(net->forward(inputs), labels); }
  std::vector<Tensor> parameters() { return net->parameters(); }
};

Tensor flat(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> parts;
  for (const auto& t : tensors) parts.push_back(t.reshape({-1}));
  return at::cat(parts);
}

// The dense Hessian by one double backward a row, on the whole set at once.
Tensor dense_hessian(Problem& problem) {
  auto parameters = problem.parameters();
  Tensor gradient = flat(grad({problem.loss()}, parameters, {}, true, true));
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < gradient.numel(); ++i)
    rows.push_back(flat(grad({gradient[i]}, parameters, {}, true, false)));
  return at::stack(rows);
}

Tensor dense_jacobian(Problem& problem) {
  auto parameters = problem.parameters();
  Tensor outputs = problem.net->forward(problem.inputs).reshape({-1});
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < outputs.numel(); ++i)
    rows.push_back(flat(grad({outputs[i]}, parameters, {}, true, false)));
  return at::stack(rows);
}

// J' S J with S the block diagonal (diag(p) - p p') / N.
Tensor dense_gauss_newton(Problem& problem) {
  Tensor J = dense_jacobian(problem).view({kExamples, 4, -1});
  Tensor p = problem.net->forward(problem.inputs).detach().softmax(1);
  Tensor S = at::diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1);
  return at::einsum("nai,nab,nbj->ij", {J, S, J}) / kExamples;
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance = 1e-12) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LE((a - b).norm().item<double>(), tolerance * b.norm().item<double>());
}

TEST(Linearization, ValueGradientAndProductsEqualTheDenseOracleOverRaggedBatches) {
  for (bool norm : {false, true}) {
    auto problem = Problem::make(small_net(norm));
    Linearization at_theta(problem.objective, {.gradient = true, .hessian = true, .gauss_newton = true});
    EXPECT_NEAR(at_theta.value(), problem.loss().item<double>(), 1e-14);
    expect_close(at_theta.gradient(), flat(grad({problem.loss()}, problem.parameters())));
    Tensor V = at::randn({problem.objective.parameters(), 3}, at::kDouble);
    expect_close(at_theta.hessian_product(V), dense_hessian(problem).mm(V));
    expect_close(at_theta.hessian_product(V.select(1, 0)), dense_hessian(problem).mv(V.select(1, 0)));
    expect_close(at_theta.gauss_newton_product(V), dense_gauss_newton(problem).mm(V));
    expect_close(at_theta.gauss_newton_gram(V), V.t().mm(dense_gauss_newton(problem)).mm(V));
  }
}

TEST(Linearization, JacobianProductsEqualTheDenseJacobian) {
  auto problem = Problem::make(small_net());
  Linearization at_theta(problem.objective, {.gauss_newton = true});
  Tensor J = dense_jacobian(problem);
  Tensor v = at::randn({J.size(1)}, at::kDouble), w = at::randn({J.size(0)}, at::kDouble);
  EXPECT_EQ(at_theta.outputs_size(), kExamples * 4);
  expect_close(at_theta.jacobian_product(v), J.mv(v));
  expect_close(at_theta.jacobian_transpose_product(w), J.t().mv(w));
}

TEST(Linearization, RebuiltGraphsGiveTheSameProductsAndTheReportSaysWhatWasKept) {
  auto problem = Problem::make(small_net());
  Tensor v = at::randn({problem.objective.parameters()}, at::kDouble);
  Needs needs{.hessian = true, .gauss_newton = true};
  Linearization kept(problem.objective, needs);
  auto all = kept.graphs();
  EXPECT_EQ(all.kept, 3);
  EXPECT_EQ(all.batches, 3);
  Tensor Hv = kept.hessian_product(v), Gv = kept.gauss_newton_product(v);

  problem.objective.set_memory_budget(all.bytes - 1);  // one batch too few
  Linearization some(problem.objective, needs);
  EXPECT_EQ(some.graphs().kept, 2);
  EXPECT_LE(some.graphs().bytes, all.bytes - 1);
  EXPECT_TRUE(some.hessian_product(v).equal(Hv));

  problem.objective.set_memory_budget(0);
  Linearization none(problem.objective, needs);
  EXPECT_EQ(none.graphs().kept, 0);
  EXPECT_TRUE(none.hessian_product(v).equal(Hv));
  EXPECT_TRUE(none.gauss_newton_product(v).equal(Gv));
}

TEST(Linearization, MeanSquaredGradientsAreThoseOfSingleExamples) {
  auto problem = Problem::make(small_net());
  Tensor expected = at::zeros({problem.objective.parameters()}, at::kDouble);
  auto all = problem.objective.terms()[0].data.source();
  for (int64_t i = 0; i < kExamples; ++i) {
    auto one = problem.objective.on(all->range(i, i + 1));
    Tensor squared = one.value_and_gradient().second.square();
    expected += squared / kExamples;
    // Of one example whatever the sign is.
    RandomStream random(1, "test");
    EXPECT_TRUE(at::allclose(one.linearize({.jacobian = true})->mean_squared_gradients(1, random), squared,
                             1e-12, 1e-14));
  }
  for (int64_t budget : {int64_t{1} << 30, int64_t{0}}) {
    problem.objective.set_memory_budget(budget);
    RandomStream random(2, "test");
    constexpr int64_t probes = 4000;  // an entry's deviation is sqrt(2 / 4000) = 0.022 of it at most
    auto linearization = problem.objective.linearize({.gradient = true, .jacobian = true});
    linearization->gradient();
    double before = problem.objective.ledger().gradient_equivalents();
    Tensor estimate = linearization->mean_squared_gradients(probes, random);
    EXPECT_LT(((estimate - expected).abs() / expected).max().item<double>(), 0.11);
    EXPECT_NEAR(problem.objective.ledger().gradient_equivalents() - before,
                0.6 * probes + (budget == 0 ? 1.0 / 3 : 0), 1e-9);
  }
}

TEST(Linearization, ThrowsWhenThetaHasMovedAndWorksAgainAfterARestore) {
  auto problem = Problem::make(small_net());
  Linearization at_theta(problem.objective, {.gradient = true, .hessian = true});
  Tensor v = at::randn({problem.objective.parameters()}, at::kDouble);
  Tensor Hv = at_theta.hessian_product(v);
  auto snapshot = problem.objective.layout().snapshot();
  problem.objective.layout().add(v, 0.1);
  EXPECT_THROW(at_theta.hessian_product(v), Error);
  double moved = problem.objective.value();
  EXPECT_NE(moved, at_theta.value());
  problem.objective.layout().restore(snapshot);
  EXPECT_TRUE(at_theta.hessian_product(v).equal(Hv));
}

TEST(Linearization, GivesOnlyWhatWasAnnounced) {
  auto problem = Problem::make(small_net());
  Linearization gradient_only(problem.objective, {.gradient = true});
  Tensor v = at::zeros({problem.objective.parameters()}, at::kDouble);
  EXPECT_THROW(gradient_only.hessian_product(v), Error);
  EXPECT_THROW(gradient_only.gauss_newton_product(v), Error);
  Linearization value_only(problem.objective, {});
  EXPECT_THROW(value_only.gradient(), Error);
}

TEST(Linearization, ChargesNominalPricesByShareOfTheData) {
  auto problem = Problem::make(small_net());
  auto& ledger = problem.objective.ledger();
  problem.objective.value_and_gradient();
  EXPECT_NEAR(ledger.gradient_equivalents(), 1, 1e-12);
  EXPECT_EQ(ledger.gradients(), 1);
  problem.objective.on(Dataset(problem.inputs, problem.labels).examples().slice(0, 1)).value_and_gradient();
  EXPECT_NEAR(ledger.gradient_equivalents(), 1 + 1.0 / kExamples, 1e-12);

  double before = ledger.gradient_equivalents();
  Linearization at_theta(problem.objective, {.hessian = true});
  at_theta.hessian_product(at::zeros({problem.objective.parameters(), 5}, at::kDouble));
  EXPECT_NEAR(ledger.gradient_equivalents() - before, Price::gradient_graph + 5 * Price::hessian_product,
              1e-12);
  EXPECT_EQ(ledger.products(), 5);
}

TEST(Linearization, FrozenAndUnusedParametersGiveZeroBlocksOrNone) {
  torch::manual_seed(0);
  struct Net : torch::nn::Module {
    torch::nn::Linear used{nullptr}, unused{nullptr}, frozen{nullptr};
    Net() {
      used = register_module("used", torch::nn::Linear(3, 4));
      unused = register_module("unused", torch::nn::Linear(2, 2));
      frozen = register_module("frozen", torch::nn::Linear(3, 3));
      to(torch::kFloat64);
    }
    Tensor forward(Tensor x) { return used(at::tanh(frozen(x))); }
  };
  auto net = std::make_shared<Net>();
  auto x = at::randn({5, 3}, at::kDouble);
  auto y = at::randint(4, {5}, at::kLong);
  Objective objective(Model(net, {"frozen.*"}), CrossEntropy(), Dataset(x, y).full());
  EXPECT_EQ(objective.parameters(), 16 + 6);
  Linearization at_theta(objective, {.gradient = true, .hessian = true, .gauss_newton = true});
  Tensor Hv = at_theta.hessian_product(at::randn({22}, at::kDouble));
  EXPECT_GT(Hv.narrow(0, 0, 16).norm().item<double>(), 1e-3);
  EXPECT_EQ(Hv.narrow(0, 16, 6).abs().sum().item<double>(), 0);
  EXPECT_EQ(at_theta.gradient().narrow(0, 16, 6).abs().sum().item<double>(), 0);
  EXPECT_EQ(
      at_theta.gauss_newton_product(at::ones({22}, at::kDouble)).narrow(0, 16, 6).abs().sum().item<double>(),
      0);
}

TEST(Objective, AFunctionOfParametersHasAHessianAndSaysWhyItHasNoGaussNewton) {
  auto x = at::tensor({-1.2, 1.0}, at::kDouble).requires_grad_();
  auto rosenbrock = [x] { return 100 * (x[1] - x[0].pow(2)).pow(2) + (1 - x[0]).pow(2); };
  auto objective = Objective::function({{"x", x}}, rosenbrock);
  EXPECT_NEAR(objective.value(), 24.2, 1e-12);
  Linearization at_theta(objective, {.gradient = true, .hessian = true});
  expect_close(at_theta.gradient(), at::tensor({-215.6, -88.0}, at::kDouble));
  expect_close(at_theta.hessian_product(at::eye(2, at::kDouble)),
               at::tensor({1330.0, 480.0, 480.0, 200.0}, at::kDouble).view({2, 2}));
  EXPECT_THROW(Linearization(objective, {.gauss_newton = true}), Error);
}

TEST(Objective, SeveralTermsShareParametersAndAddUp) {
  auto net = small_net();
  Model model(net);
  auto x = at::randn({6, 3}, at::kDouble), z = at::randn({9, 3}, at::kDouble);
  auto y = at::randn({6, 4}, at::kDouble), w = at::randn({9, 1}, at::kDouble);
  auto first_output = model.with_forward([net](const Model::Inputs& inputs) mutable -> Model::Outputs {
    return {net->forward(inputs[0]).narrow(1, 0, 1)};
  });
  Objective objective({{model, MeanSquaredError(), Dataset(x, y).batches(4), 0.5},
                       {first_output, MeanSquaredError(), Dataset(z, w).batches(4), 2.0}});
  auto expected = [&]() mutable {
    return 0.5 * at::mse_loss(net->forward(x), y) + 2 * at::mse_loss(net->forward(z).narrow(1, 0, 1), w);
  };
  Linearization at_theta(objective, {.gradient = true, .hessian = true});
  EXPECT_NEAR(at_theta.value(), expected().item<double>(), 1e-13);
  auto parameters = net->parameters();
  auto gradient = grad({expected()}, parameters, {}, true, true);
  expect_close(at_theta.gradient(), flat(gradient).detach());
  Tensor v = at::randn({objective.parameters()}, at::kDouble);
  expect_close(at_theta.hessian_product(v), flat(grad(gradient, parameters, model.layout().unflatten(v))));
}

TEST(Objective, RegularisersEnterValueGradientAndHessianAndNotGaussNewton) {
  struct HalfSquare : Regularizer {
    std::string name() const override { return "half_square"; }
    Tensor value(const ParameterLayout& layout) const override {
      Tensor sum = at::zeros({}, layout.options());
      for (const auto& leaf : layout.leaves()) sum = sum + leaf.pow(2).sum() / 2;
      return sum;
    }
  };
  auto problem = Problem::make(small_net());
  Objective with(problem.objective.terms(), {std::make_shared<HalfSquare>()});
  Needs needs{.gradient = true, .hessian = true, .gauss_newton = true};
  Linearization a(problem.objective, needs), b(with, needs);
  const Tensor& theta = with.layout().theta();
  Tensor v = at::randn({with.parameters()}, at::kDouble);
  EXPECT_NEAR(b.value() - a.value(), theta.dot(theta).item<double>() / 2, 1e-12);
  expect_close(b.gradient(), a.gradient() + theta);
  expect_close(b.hessian_product(v), a.hessian_product(v) + v);
  expect_close(b.gauss_newton_product(v), a.gauss_newton_product(v));
}

TEST(Linearization, MemoryDoesNotGrowOverManyProducts) {
  auto problem = Problem::make(small_net());
  Linearization at_theta(problem.objective, {.hessian = true, .gauss_newton = true});
  Tensor v = at::randn({problem.objective.parameters()}, at::kDouble);
  at_theta.hessian_product(v);
  at_theta.gauss_newton_product(v);
  MemoryMeter meter;
  for (int i = 0; i < 1000; ++i) {
    at_theta.hessian_product(v);
    at_theta.gauss_newton_product(v);
  }
  EXPECT_EQ(meter.current(), 0);
}

TEST(Linearization, BatchNormInTrainingModeIsRefusedOverSeveralBatchesAndExactOnOne) {
  torch::nn::Sequential net(torch::nn::Linear(3, 5), torch::nn::BatchNorm1d(5), torch::nn::Tanh(),
                            torch::nn::Linear(5, 4));
  net->to(torch::kFloat64);
  auto several = Problem::make(net);
  EXPECT_THROW(Linearization(several.objective, {.hessian = true}), Error);
  auto data = Dataset(several.inputs, several.labels);
  auto one = several.objective.on({data.full()});
  Linearization at_theta(one, {.hessian = true});
  Tensor v = at::randn({one.parameters()}, at::kDouble);
  expect_close(at_theta.hessian_product(v), dense_hessian(several).mv(v), 1e-11);
}

}  // namespace
}  // namespace osculant
