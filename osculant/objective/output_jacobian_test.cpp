#include "osculant/objective/output_jacobian.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <cmath>
#include <functional>

#include "osculant/base/error.h"
#include "osculant/objective/linearization.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::kDouble);
}

struct Network {
  Tensor W = normal({5, 3}, 1).requires_grad_(), b = normal({5}, 2).requires_grad_();
  Tensor V = normal({2, 5}, 3).requires_grad_(), c = normal({2}, 4).requires_grad_();
  Tensor unused = normal({4}, 5).requires_grad_();
  ParameterLayout layout{{{"W", W}, {"b", b}, {"V", V}, {"c", c}, {"unused", unused}}};
};

void expect_equal_rows(const ParameterLayout& layout, const Tensor& z) {
  int64_t N = z.size(0), D = z.numel() / N;
  Tensor seeds = normal({N, D, 3}, 9);
  auto layerwise = layerwise_jacobian(z, seeds, layout);
  ASSERT_TRUE(layerwise);
  Tensor rowwise = rowwise_jacobian(z, seeds, layout);
  EXPECT_EQ(rowwise.sizes(), (std::vector<int64_t>{N, 3, layout.size()}));
  EXPECT_LT((*layerwise - rowwise).norm().item<double>(), 1e-13 * rowwise.norm().item<double>());
}

// Row (i, c) as the gradient of one number, on a fresh graph.
TEST(OutputJacobian, rowwise_is_one_gradient_a_row) {
  Network net;
  Tensor x = normal({6, 3}, 6), seeds = normal({6, 2, 3}, 7);
  auto forward = [&] { return at::linear(at::tanh(at::linear(x, net.W, net.b)), net.V, net.c); };
  Tensor J = rowwise_jacobian(forward(), seeds, net.layout);
  for (int64_t i : {0, 5}) {
    Tensor value = (forward()[i] * seeds[i].select(1, 1)).sum();
    auto g = torch::autograd::grad({value}, net.layout.leaves(), {}, {}, false, true);
    EXPECT_LT((J[i][1] - net.layout.flatten(g)).norm().item<double>(), 1e-14);
  }
}

TEST(OutputJacobian, layerwise_equals_rowwise) {
  Network net;
  Tensor x = normal({6, 3}, 6);
  Tensor h = at::tanh(at::linear(x, net.W, net.b));
  expect_equal_rows(net.layout, at::linear(h, net.V, net.c));
  // Without fused biases; weights that are used twice, once transposed.
  Tensor back = (h.matmul(net.V.t()) + net.c).matmul(net.V);
  expect_equal_rows(net.layout, at::sigmoid(back.matmul(net.W) * 0.3).matmul(net.W.t()) + net.b);
  // Positions that share weights: [N, T, K].
  Tensor sequence = at::tanh(at::linear(normal({6, 4, 3}, 8), net.W, net.b));
  expect_equal_rows(net.layout, at::linear(sequence, net.V, net.c));
}

// z = u_xx + u of u = net(x), x [N, 3]: parameters enter forward, derivative and second derivative.
TEST(OutputJacobian, layerwise_sees_through_derivatives_in_the_forward_pass) {
  Network net;
  Tensor x = normal({6, 3}, 6).requires_grad_();
  Tensor u = at::linear(at::tanh(at::linear(x, net.W, net.b)), net.V, net.c);
  auto derivative = [&](const Tensor& of) {
    return torch::autograd::grad({of.sum()}, {x}, {}, true, true)[0].narrow(1, 0, 1);
  };
  Tensor u_xx = derivative(derivative(u.narrow(1, 0, 1)));
  expect_equal_rows(net.layout, u_xx + u);
}

TEST(OutputJacobian, layerwise_gives_up_where_a_parameter_enters_otherwise) {
  Network net;
  Tensor x = normal({6, 3}, 6), seeds = at::ones({6, 5, 1}, at::kDouble);
  EXPECT_TRUE(layerwise_jacobian(at::linear(x, net.W, net.b), seeds, net.layout));
  EXPECT_FALSE(layerwise_jacobian(at::linear(x, net.W) * net.b, seeds, net.layout));
  EXPECT_FALSE(layerwise_jacobian(at::linear(x, at::tanh(net.W), net.b), seeds, net.layout));
  EXPECT_FALSE(layerwise_jacobian(net.W.matmul(x.t()).t(), seeds, net.layout));
}

struct Roots {
  Tensor G, g;  // of A'A and A'r
};
Roots roots(const Objective& objective) {
  auto linearization = objective.linearize({.jacobian = true});
  Roots sum{at::zeros({objective.parameters(), objective.parameters()}, at::kDouble),
            at::zeros({objective.parameters()}, at::kDouble)};
  linearization->gauss_newton_root([&](const Tensor& A, const Tensor& r) {
    sum.G += A.t().mm(A);
    sum.g += A.t().mv(r);
  });
  return sum;
}

void expect_root(const Objective& objective, bool whole_gradient = true) {
  auto [G, g] = roots(objective);
  auto linearization = objective.linearize({.gradient = true, .gauss_newton = true});
  Tensor dense = linearization->gauss_newton_product(at::eye(objective.parameters(), at::kDouble));
  EXPECT_LT((G - dense).norm().item<double>(), 1e-12 * dense.norm().item<double>());
  const Tensor& gradient = linearization->gradient();
  double off = ((g - gradient).norm() / gradient.norm()).item<double>();
  EXPECT_EQ(off < 1e-12, whole_gradient) << off;
}

torch::nn::Sequential network(int64_t outputs, bool norm = false) {
  torch::manual_seed(3);
  torch::nn::Sequential net(torch::nn::Linear(3, 5), torch::nn::Tanh());
  if (norm) net->push_back(torch::nn::LayerNorm(torch::nn::LayerNormOptions({5})));
  net->push_back(torch::nn::Linear(5, outputs));
  net->to(torch::kFloat64);
  return net;
}

TEST(GaussNewtonRoot, squares_to_the_gauss_newton_matrix) {
  Tensor x = normal({11, 3}, 6), y = normal({11, 4}, 7), labels = at::arange(11, at::kLong).remainder(4);
  for (int64_t batch_size : {11, 4}) {
    expect_root(Objective(Model(network(4)), MeanSquaredError(), Dataset(x, y).batches(batch_size)));
    expect_root(Objective(Model(network(4)), CrossEntropy(), Dataset(x, labels).batches(batch_size)));
    expect_root(
        Objective(Model(network(4)), BinaryCrossEntropy(), Dataset(x, y.sigmoid()).batches(batch_size)));
    // Beyond delta Huber's loss has a slope and no curvature.
    expect_root(Objective(Model(network(4)), Huber({.delta = 0.3}), Dataset(x, y).batches(batch_size)),
                false);
  }
  expect_root(Objective(Model(network(4, true)), CrossEntropy(), Dataset(x, labels).full()));
}

// Two terms of different weights; a network that compares an example with the mean of its batch, where the
// rows of the products are not all that an example sees.
TEST(GaussNewtonRoot, is_right_for_several_terms_and_for_examples_that_mix) {
  auto net = network(1);
  Model model(net);
  Tensor x = normal({11, 3}, 6), y = normal({11, 1}, 7);
  auto mixing = model.with_forward([net](const Model::Inputs& in) mutable -> Model::Outputs {
    Tensor z = net->forward(in[0]);
    return {z - 0.5 * z.mean(0, true)};
  });
  expect_root(Objective({{model, MeanSquaredError(), Dataset(x, y).batches(4)},
                         {mixing, MeanSquaredError(), Dataset(x, y).full(), 3}}));
}

class GaussNewtonRootOf : public testing::TestWithParam<LayerCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, GaussNewtonRootOf, testing::ValuesIn(layer_cases()),
                         [](const auto& info) { return info.param.name; });

// Convolutions, embeddings, normalisation and the like: a pass an output where layers tell all parameters,
// and at most one more where the graph is asked in vain.
TEST_P(GaussNewtonRootOf, squares_to_the_gauss_newton_matrix_by_layers) {
  auto [objective, batch] = GetParam().make();
  expect_root(objective);
  auto linearization = objective.linearize({.jacobian = true});
  double outputs = static_cast<double>(linearization->outputs_size());
  double columns = outputs / static_cast<double>(batch.size());
  double before = objective.ledger().gradient_equivalents();
  linearization->gauss_newton_root([](const Tensor&, const Tensor&) {});
  double spent = objective.ledger().gradient_equivalents() - before;
  if (GetParam().untapped.empty()) {
    EXPECT_LE(spent, (columns + 1) * Price::jacobian_transpose_product + (columns + 4) * Price::forward);
  } else {
    EXPECT_GE(spent, outputs * Price::jacobian_transpose_product);
  }
}

TEST(GaussNewtonRoot, charges_its_passes_and_minds_the_budget) {
  Tensor x = normal({12, 3}, 6), y = normal({12, 2}, 7);
  Objective objective(Model(network(2)), MeanSquaredError(), Dataset(x, y).full());
  auto linearization = objective.linearize({.jacobian = true});
  linearization->value();
  double before = objective.ledger().gradient_equivalents();
  linearization->gauss_newton_root([](const Tensor&, const Tensor&) {});
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before, 3 * Price::jacobian_transpose_product,
              1e-12);
  objective.set_memory_budget(1000);
  EXPECT_THROW(roots(objective), Error);
}

}  // namespace
}  // namespace osculant
