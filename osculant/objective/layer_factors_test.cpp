#include "osculant/objective/layer_factors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include "osculant/base/testing.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

using torch::nn::Linear;

std::vector<std::string> names_of(const std::vector<UntappedParameter>& untapped) {
  std::vector<std::string> names;
  for (const auto& parameter : untapped) names.push_back(parameter.name);
  return names;
}

// Gradients of single examples from a and d, entry by entry of M: [columns, N, n].
Tensor rows_of(const LayerFactors& factors, const LayerFactors::Cotangents& cotangents, int64_t n) {
  auto d = factors.derivatives(cotangents);
  Tensor rows = at::zeros({cotangents[0].size(0), factors.examples(), n}, d.at(0).options());
  for (size_t u = 0; u < d.size(); ++u) {
    const LayerUse& use = factors.uses()[u];
    Tensor a = inputs_of(use), M;
    Tensor D = d[u].unflatten(3, {use.groups, use.outputs / use.groups});
    if (use.tap.kind == LayerKind::normalization) {
      M = (d[u] * a).sum(2).unsqueeze(-1);
      if (use.has_bias()) M = at::cat({M, d[u].sum(2).unsqueeze(-1)}, -1);
      M = M.unsqueeze(2);
    } else if (use.tap.kind == LayerKind::embedding) {
      M = at::einsum("cntgo,ntv->cngov", {D, at::one_hot(a, use.inputs).to(D.options())});
    } else {
      M = at::einsum("cntgo,ntgi->cngoi", {D, a.unflatten(2, {use.groups, -1})});
    }
    add_matrix(use, M, rows);
  }
  return rows;
}

// The same by autograd, from a batch of one.
Tensor oracle_rows(const Objective& objective, const Batch& batch,
                   const LayerFactors::Cotangents& cotangents) {
  std::vector<Tensor> rows;
  const auto& layout = objective.layout();
  for (int64_t c = 0; c < cotangents[0].size(0); ++c)
    for (int64_t i = 0; i < batch.size(); ++i) {
      auto z = objective.terms()[0].model.forward(batch.slice(i, i + 1));
      Tensor value = at::zeros({}, at::kDouble);
      for (size_t o = 0; o < z.size(); ++o) value = value + (z[o] * cotangents[o][c].narrow(0, i, 1)).sum();
      rows.push_back(layout.flatten(torch::autograd::grad({value}, layout.leaves(), {}, {}, false, true)));
    }
  return at::stack(rows).view({cotangents[0].size(0), batch.size(), -1});
}

class LayerFactorsOf : public testing::TestWithParam<LayerCase> {};

TEST_P(LayerFactorsOf, AreAutogradsRows) {
  auto [objective, batch] = GetParam().make();
  LayerFactors factors(objective, 0, batch);
  EXPECT_THAT(names_of(factors.untapped()), testing::UnorderedElementsAreArray(GetParam().untapped));
  auto u = random_columns(factors, 2, 3);
  Tensor rows = rows_of(factors, u, objective.parameters()), expected = oracle_rows(objective, batch, u);
  for (const auto& parameter : factors.untapped())
    expected
        .narrow(2, objective.layout().parameters()[parameter.index].offset,
                objective.layout().parameters()[parameter.index].size)
        .zero_();
  EXPECT_LT((rows - expected).norm().item<double>(), 1e-12 * expected.norm().item<double>());
  EXPECT_GT(expected.norm().item<double>(), 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, LayerFactorsOf, testing::ValuesIn(layer_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(LayerFactors, MatrixOfIsWhatAddMatrixAdds) {
  for (const auto& layer_case : layer_cases()) {
    auto [objective, batch] = layer_case.make();
    LayerFactors factors(objective, 0, batch);
    Tensor flat = at::arange(objective.parameters(), at::kDouble), copy = at::zeros_like(flat);
    std::vector<bool> told(objective.layout().leaves().size(), true);
    for (const auto& parameter : factors.untapped()) told[parameter.index] = false;
    for (const auto& use : factors.uses())
      add_matrix(use, matrix_of(use, flat), copy, 1.0 / static_cast<double>(use.uses));
    for (size_t p = 0; p < told.size(); ++p) {
      const auto& at = objective.layout().parameters()[p];
      Tensor block = copy.narrow(0, at.offset, at.size), all = flat.narrow(0, at.offset, at.size);
      if (told[p] && layer_case.disjoint) {
        EXPECT_TRUE(at::allclose(block, all)) << at.name;
      }
    }
  }
}

// S S' = the Hessian of a single example's own loss, and the mean of sampled d d' comes to it.
TEST(LayerFactors, CotangentsHaveTheirSecondMoments) {
  RandomStream random(5, "test");
  Tensor x = random.normal({4, 3}, at::kDouble), y = random.integers(3, {4});
  torch::manual_seed(1);
  torch::nn::Sequential net(Linear(3, 3));
  net->to(at::kDouble);
  Batch batch{{{"", x}}, {{"", y}}, at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble)};
  Objective objective(Model(net), CrossEntropy(), Dataset(x, y).full());
  LayerFactors factors(objective, 0, batch);
  Tensor p = factors.outputs()[0].detach().softmax(1);
  Tensor H = at::diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1);
  Tensor S = factors.hessian_root()[0];
  EXPECT_LT((at::einsum("cni,cnj->nij", {S, S}) - H).norm().item<double>(), 1e-14);
  Tensor w = factors.loss_gradient()[0][0];
  EXPECT_TRUE(at::allclose(w, p - at::one_hot(y, 3), 1e-12, 1e-14));
  constexpr int64_t draws = 4000;
  Tensor s = factors.sampled_gradients(draws, random)[0];
  EXPECT_LT((at::einsum("cni,cnj->nij", {s, s}) / draws - H).abs().max().item<double>(),
            5 / std::sqrt(draws));
}

// What depends on other examples too has no rows of its own; what comes after the mixing has.
TEST(LayerFactors, LayersBehindWhichExamplesMixAreLeft) {
  torch::manual_seed(1);
  auto net = std::make_shared<torch::nn::SequentialImpl>(Linear(3, 4), Linear(4, 2));
  net->to(at::kDouble);
  Model model(net, [net](const Model::Inputs& x) {
    Tensor h = net->at<torch::nn::LinearImpl>(0).forward(x[0]);
    return Model::Outputs{net->at<torch::nn::LinearImpl>(1).forward(h - h.mean(0))};
  });
  Tensor x = at::randn({5, 3}, at::kDouble), y = at::randn({5, 2}, at::kDouble);
  Objective objective(model, MeanSquaredError(), Dataset(x, y).full());
  LayerFactors factors(objective, 0, objective.batch(0, 0));
  EXPECT_THAT(names_of(factors.untapped()), testing::ElementsAre("0.weight", "0.bias"));
  EXPECT_EQ(factors.uses().size(), 1u);
  EXPECT_THAT(factors.untapped()[0].reason, testing::HasSubstr("mix"));
}

TEST(LayerFactors, RefusesWhatHasNoExamples) {
  torch::manual_seed(1);
  torch::nn::Sequential net(Linear(3, 4), torch::nn::BatchNorm1d(4));
  net->to(at::kDouble);
  Tensor x = at::randn({5, 3}, at::kDouble), y = at::randn({5, 4}, at::kDouble);
  Objective objective(Model(net), MeanSquaredError(), Dataset(x, y).full());
  auto make = [&] { LayerFactors(objective, 0, objective.batch(0, 0)); };
  EXPECT_THAT(message_of(make, ErrorKind::usage), testing::HasSubstr("model.train(false)"));
  net->eval();
  EXPECT_NO_THROW(make());
}

}  // namespace
}  // namespace osculant
