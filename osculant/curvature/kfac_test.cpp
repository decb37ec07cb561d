#include "osculant/curvature/kfac.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <cmath>
#include <string>
#include <vector>

#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/fisher.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

KfacOptions exactly(WeightSharing sharing = WeightSharing::expand) {
  return {.sample = {.gradients = ScoreGradients::exact}, .sharing = sharing};
}

// Entries of theta in a place, in the order of rows of M, one group after another.
Tensor indices(const MatrixPlace& place, int64_t n) {
  return place.of(at::arange(n, at::kDouble)).to(at::kLong);
}

// The part of a dense matrix that the blocks' places take, each group for itself, zeros elsewhere.
Tensor diagonal_blocks(const Tensor& G, const std::vector<KroneckerBlock>& blocks) {
  Tensor mask = at::zeros_like(G);
  for (const auto& block : blocks) {
    Tensor at = indices(block.place, G.size(0));
    for (int64_t g = 0; g < block.place.groups; ++g) {
      Tensor i = at[g].flatten();
      mask.index_put_({i.unsqueeze(1), i.unsqueeze(0)}, at::ones({}, G.options()));
    }
  }
  return G * mask;
}

// 4-5-3-2 without activations, on 9 weighted examples in batches of 4.
Objective deep_linear(bool bias) {
  torch::nn::Sequential net;
  torch::manual_seed(1);
  std::vector<int64_t> widths{4, 5, 3, 2};
  for (size_t l = 1; l < widths.size(); ++l)
    net->push_back(torch::nn::Linear(torch::nn::LinearOptions(widths[l - 1], widths[l]).bias(bias)));
  net->to(at::kDouble);
  Tensor x = layer_case::normal({9, 4}, 2), y = layer_case::normal({9, 2}, 3);
  Tensor weights = layer_case::normal({9}, 4).square();
  return Objective(net, MeanSquaredError(), Dataset(x, y, weights).batches(4));
}

TEST(Kfac, IsTheGaussNewtonBlockOfDeepLinearNetworks) {
  for (bool bias : {false, true}) {
    Objective objective = deep_linear(bias);
    auto F = kfac(objective, exactly());
    ASSERT_EQ(F.matrix->blocks().size(), 3);
    EXPECT_TRUE(F.untapped.empty());
    Tensor G = to_dense(GaussNewton(objective));
    EXPECT_LT(relative_difference(to_dense(*F.matrix), diagonal_blocks(G, F.matrix->blocks())), 1e-13);
  }
}

class KfacOf : public testing::TestWithParam<LayerCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, KfacOf, testing::ValuesIn(layer_cases()),
                         [](const auto& info) { return info.param.name; });

// In whatever bases the eigenvalues are the diagonal of the exact block; what no layer tells is left out.
TEST_P(KfacOf, CorrectedEigenvaluesAreTheDiagonalOfGaussNewtonInTheBases) {
  auto [objective, batch] = GetParam().make();
  auto options = exactly();
  options.sample.untapped = false;
  auto E = ekfac(objective, options);
  ASSERT_TRUE(E.matrix);
  int64_t n = objective.parameters();
  Tensor G = to_dense(GaussNewton(objective));
  Tensor told = at::zeros({n});
  for (const auto& block : E.matrix->blocks()) {
    const auto& place = block.place;
    for (int64_t g = 0; g < place.groups; ++g)
      for (int64_t i = 0; i < place.rows; ++i)
        for (int64_t j = 0; j < place.columns; ++j) {
          Tensor M = at::zeros({place.groups, place.rows, place.columns}, at::kDouble);
          M[g][i][j] = 1;
          Tensor v = at::zeros({n}, at::kDouble);
          place.put(block.out_of_bases(M), v);
          double expected = v.dot(G.mv(v)).item<double>();
          EXPECT_NEAR(block.values[g][i][j].item<double>(), expected, 1e-12 * G.norm().item<double>())
              << block.name << " " << g << " " << i << " " << j;
        }
    told.index_fill_(0, indices(place, n).flatten(), 1);
  }
  for (const auto& parameter : E.untapped) {
    const auto& at = objective.layout().parameters()[parameter.index];
    told.narrow(0, at.offset, at.size).fill_(1);
  }
  EXPECT_EQ(told.sum().item<int64_t>(), n);
}

// A and G by loops over what LayerFactors gives, for weights that are used once.
TEST_P(KfacOf, FactorsAreSumsOverExamplesAndPositions) {
  if (!GetParam().disjoint) GTEST_SKIP() << "weights are used twice";
  auto [objective, batch] = GetParam().make();
  LayerFactors factors(objective, 0, batch);
  auto d = factors.derivatives(factors.hessian_root());
  double N = static_cast<double>(batch.size()), scale = objective.linearize({})->scale(0);
  for (auto sharing : {WeightSharing::expand, WeightSharing::reduce}) {
    auto F = kfac(objective, exactly(sharing));
    for (size_t u = 0; u < d.size(); ++u) {
      const auto& use = factors.uses()[u];
      if (use.tap.kind != LayerKind::linear && use.tap.kind != LayerKind::convolution) continue;
      const KroneckerBlock* block = nullptr;
      for (const auto& other : F.matrix->blocks())
        if (other.place.offset == use.tap.part.offset) block = &other;
      ASSERT_TRUE(block);
      int64_t T = use.positions;
      Tensor a = inputs_of(use).unflatten(2, {use.groups, -1}), D = d[u].unflatten(3, {use.groups, -1});
      for (int64_t g = 0; g < use.groups; ++g) {
        Tensor A = at::zeros_like(block->inputs.blocks()[0][g]),
               G = at::zeros_like(block->outputs.blocks()[0][g]);
        for (int64_t i = 0; i < batch.size(); ++i) {
          if (sharing == WeightSharing::reduce) {
            Tensor mean = a.select(2, g)[i].mean(0);
            A += mean.outer(mean) / N;
            for (int64_t c = 0; c < D.size(0); ++c) {
              Tensor sum = D.select(3, g)[c][i].sum(0);
              G += scale * sum.outer(sum);
            }
            continue;
          }
          for (int64_t t = 0; t < T; ++t) {
            Tensor input = a.select(2, g)[i][t];
            A += input.outer(input) / (N * static_cast<double>(T));
            for (int64_t c = 0; c < D.size(0); ++c) {
              Tensor output = D.select(3, g)[c][i][t];
              G += scale * output.outer(output);
            }
          }
        }
        EXPECT_LT(relative_difference(block->inputs.blocks()[0][g], A), 1e-12) << block->name;
        EXPECT_LT(relative_difference(block->outputs.blocks()[0][g], G), 1e-12) << block->name;
      }
    }
  }
}

// Blocks of units of a normalisation, of biases alone and of embeddings read one word at a time are exact.
TEST(Kfac, IsExactForNormalisationBiasesAndWords) {
  using namespace torch::nn;
  Tensor words = at::tensor({0, 1, 2, 5, 1, 1, 3, 0}, at::kLong);
  auto E = layer_case::normal({6, 4}, 1).requires_grad_(), b = layer_case::normal({4}, 2).requires_grad_(),
       s = layer_case::normal({4}, 3).requires_grad_(), t = layer_case::normal({4}, 4).requires_grad_();
  Model model({{"E", E}, {"b", b}, {"s", s}, {"t", t}}, [=](const Model::Inputs& x) {
    return Model::Outputs{at::layer_norm((at::embedding(E, x[0]).sin() + b).tanh(), {4}, s, t)};
  });
  Objective objective(model, MeanSquaredError(), Dataset(words, layer_case::normal({8, 4}, 5)).full());
  auto F = kfac(objective, exactly());
  Tensor G = to_dense(GaussNewton(objective)), K = to_dense(*F.matrix);
  ASSERT_EQ(F.matrix->blocks().size(), 3);
  Tensor exact = diagonal_blocks(G, F.matrix->blocks());
  EXPECT_LT(relative_difference(K.narrow(0, 24, 12), exact.narrow(0, 24, 12)), 1e-12);
  // Of an embedding the frequencies are exact: words do not meet.
  Tensor words_met = at::kron(at::eye(6, at::kDouble), at::ones({4, 4}, at::kDouble));
  EXPECT_LT((K.slice(0, 0, 24).slice(1, 0, 24) * (1 - words_met)).norm().item<double>(), 1e-14);
}

TEST(Kfac, SampledFactorsAreThoseOfTheFisherMatrixInTheMean) {
  using namespace torch::nn;
  torch::manual_seed(2);
  Sequential net(Linear(3, 4), Tanh(), Linear(4, 3));
  net->to(at::kDouble);
  Tensor x = layer_case::normal({6, 3}, 1), y = at::tensor({0, 1, 2, 0, 1, 2}, at::kLong);
  Objective objective(net, CrossEntropy(), Dataset(x, y).full());
  Tensor exact = to_dense(*kfac(objective, exactly()).matrix);
  auto sampled = [&](int64_t draws, uint64_t seed) {
    return to_dense(
        *kfac(objective, {.sample = {.gradients = ScoreGradients::sampled, .draws = draws, .seed = seed}})
             .matrix);
  };
  EXPECT_TRUE(sampled(2, 1).equal(sampled(2, 1)));
  EXPECT_FALSE(sampled(2, 1).equal(sampled(2, 2)));
  EXPECT_LT(relative_difference(sampled(4000, 1), exact), 0.05);
  EXPECT_GT(relative_difference(sampled(1, 1), exact), 0.05);
}

TEST(Kfac, EmpiricalFactorsAreOfTheGradientsAtTheData) {
  Objective objective = deep_linear(true).on(deep_linear(true).batch(0, 0));
  auto F = kfac(objective, {.sample = {.gradients = ScoreGradients::empirical}});
  LayerFactors factors(objective, 0, objective.batch(0, 0));
  Tensor w = objective.batch(0, 0).weights, d = factors.derivatives(factors.loss_gradient())[0][0].squeeze(1);
  double scale = objective.linearize({})->scale(0);
  EXPECT_LT(relative_difference(F.matrix->blocks()[0].outputs.blocks()[0][0],
                                scale * (d * w.unsqueeze(1)).t().mm(d)),
            1e-13);
}

// A tied embedding: the partial traces of A_1 (x) G_1 + G_2 (x) A_2, each product by itself from a network in
// which the weight is used only so.
TEST(Kfac, TiedWeightsHaveThePartialTracesOfTheSum) {
  Tensor words = at::tensor({0, 1, 2, 4, 1, 1, 3, 0}, at::kLong).view({4, 2});
  auto build = [&](bool first, bool last) {
    Tensor fixed = layer_case::normal({5, 3}, 1), E = fixed.clone().requires_grad_();
    Model model({{"E", E}}, [=](const Model::Inputs& x) {
      Tensor h = at::embedding(first ? E : fixed, x[0]).tanh();
      return Model::Outputs{at::linear(h, last ? E : fixed).mean(1)};
    });
    return Objective(model, MeanSquaredError(), Dataset(words, layer_case::normal({4, 5}, 5)).full());
  };
  auto block = [&](bool first, bool last) {
    auto F = kfac(build(first, last), exactly());
    EXPECT_EQ(F.matrix->blocks().size(), 1);
    return F.matrix->blocks()[0];
  };
  auto both = block(true, true), one = block(true, false), two = block(false, true);
  Tensor words_side = both.inputs.blocks()[0][0], units = both.outputs.blocks()[0][0];
  Tensor A1 = one.inputs.blocks()[0][0].diag(), G1 = one.outputs.blocks()[0][0];
  Tensor A2 = two.inputs.blocks()[0][0], G2 = two.outputs.blocks()[0][0];
  // tr over units of the whole, and over words
  EXPECT_LT(relative_difference(words_side * units.trace(), A1 * G1.trace() + G2 * A2.trace()), 1e-13);
  EXPECT_LT(relative_difference(units * words_side.trace(), G1 * A1.trace() + A2 * G2.trace()), 1e-13);
}

// What no layer tells: signs in place of examples' gradients have the diagonal as expectation.
TEST(Kfac, TellsADiagonalOfWhatNoLayerTells) {
  auto p = layer_case::normal({2, 3}, 1).requires_grad_();
  Model model({{"p", p}},
              [p](const Model::Inputs& x) { return Model::Outputs{(x[0].unsqueeze(1) * p.sin()).sum(2)}; });
  Tensor x = layer_case::normal({5, 3}, 2);
  Objective objective(model, MeanSquaredError(), Dataset(x, layer_case::normal({5, 2}, 3)).full());
  Tensor expected = to_dense(GaussNewton(objective)).diagonal(), mean = at::zeros_like(expected);
  constexpr int draws = 1500;
  for (uint64_t seed = 0; seed < draws; ++seed) {
    auto F = kfac(objective, {.sample = {.gradients = ScoreGradients::exact, .seed = seed}});
    ASSERT_EQ(F.untapped.size(), 1);
    EXPECT_EQ(F.matrix->blocks()[0].name, "p");
    mean += F.matrix->apply(at::ones({6}, at::kDouble)) / draws;
  }
  EXPECT_LT(relative_difference(mean, expected), 0.08);
  KfacOptions left_out = exactly();
  left_out.sample.untapped = false;
  auto F = kfac(objective, left_out);
  EXPECT_TRUE(F.matrix->blocks().empty());
  EXPECT_EQ(F.matrix->trace(), 0);
}

TEST(Kfac, SplitsLargeSidesIntoBlocks) {
  Objective objective = deep_linear(true);
  auto options = exactly();
  auto whole = kfac(objective, options).matrix;
  options.max_dimension = 3;
  auto split = kfac(objective, options).matrix;
  Tensor A = whole->blocks()[0].inputs.blocks()[0][0], B = split->blocks()[0].inputs.blocks()[0][0];
  ASSERT_EQ(split->blocks()[0].inputs.blocks().size(), 2);  // of 5 inputs
  EXPECT_TRUE(at::allclose(B, A.slice(0, 0, 2).slice(1, 0, 2), 1e-13));
  EXPECT_TRUE(at::allclose(split->blocks()[0].inputs.blocks()[1][0], A.slice(0, 2, 5).slice(1, 2, 5), 1e-13));
}

// Bases from the last ones are as good when the matrix is the same; kept ones correct to the same values.
TEST(Ekfac, GoesOnFromItsLastBases) {
  Objective objective = deep_linear(true);
  auto first = ekfac(objective, exactly());
  auto kept = ekfac(objective, exactly(), *first.matrix, EkfacBases::kept);
  auto refreshed = ekfac(objective, exactly(), *first.matrix, EkfacBases::refreshed);
  Tensor E = to_dense(*first.matrix);
  EXPECT_LT(relative_difference(to_dense(*kept.matrix), E), 1e-13);
  EXPECT_LT(relative_difference(to_dense(*refreshed.matrix), E), 1e-10);
}

// The best diagonal in the bases beats the products of the factors' eigenvalues in the norm of Frobenius.
TEST(Ekfac, IsNearerToGaussNewtonThanKfac) {
  auto [objective, batch] = layer_cases()[1].make();  // convolutions
  auto F = kfac(objective, exactly());
  auto E = ekfac(objective, exactly());
  Tensor G = diagonal_blocks(to_dense(GaussNewton(objective)), F.matrix->blocks());
  EXPECT_LT(relative_difference(to_dense(*E.matrix), G), 0.97 * relative_difference(to_dense(*F.matrix), G));
}

TEST(Ekfac, WithoutMemoryForSamplesIsTheSame) {
  Objective objective = deep_linear(true);
  KfacOptions options{.sample = {.seed = 4}};
  Tensor E = to_dense(*ekfac(objective, options).matrix);
  objective.set_memory_budget(1000);
  EXPECT_TRUE(to_dense(*ekfac(objective, options).matrix).equal(E));
}

TEST(Kfac, RefusesFactorsThatExceedTheMemoryAndSaysWhatWouldDo) {
  Objective objective = deep_linear(true);
  objective.set_memory_budget(8 * 25);  // G of the first layer
  EXPECT_THAT(message_of([&] { kfac(objective, exactly()); }, ErrorKind::memory),
              testing::HasSubstr("max_dimension = 2 takes half of that"));
}

TEST(Kfac, SaysWhatItCannotDo) {
  Tensor x = at::zeros({2}, at::kDouble).requires_grad_();
  EXPECT_THAT(message_of(
                  [&] {
                    kfac(Objective::function({{"x", x}}, [x] { return x.dot(x); }));
                  },
                  ErrorKind::usage),
              testing::HasSubstr("a function of the parameters alone"));
  EXPECT_THAT(message_of([] { kfac(deep_linear(true), {.sample = {.draws = 0}}); }, ErrorKind::usage),
              testing::HasSubstr("draws = 0: must be >= 1"));
}

}  // namespace
}  // namespace osculant
