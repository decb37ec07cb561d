#include "osculant/model/output_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;
using Outputs = OutputLoss::Outputs;
namespace F = torch::nn::functional;

const auto kDouble = at::TensorOptions().dtype(at::kDouble);

Batch batch_of(const Tensor& targets, const Tensor& weights = {}) {
  return {{{"", at::zeros({targets.size(0), 1})}}, {{"", targets}}, weights};
}

double value_of(const OutputLoss& loss, const Tensor& z, const Batch& batch) {
  return loss->sum({z}, batch).item<double>() / loss->denominator({z}, batch).item<double>();
}

std::string refusal(const OutputLoss& loss, const Outputs& z, const Batch& batch) {
  return message_of([&] { loss->check(z, batch); });
}

CrossEntropyOptions cross_entropy_options(double smoothing, const Tensor& class_weights = {},
                                          OutputReduction outputs = OutputReduction::mean) {
  return {.label_smoothing = smoothing, .class_weights = class_weights, .outputs = outputs};
}

// One row of the list that every property below is checked over.
struct Case {
  std::string name;
  OutputLoss loss;
  Tensor z, y;
  Tensor torch_mean;  // by torch, reduction='mean'; undefined when torch has no such thing
};

std::vector<Case> cases() {
  torch::manual_seed(3);
  std::vector<Case> list;
  auto z = 2 * at::randn({7, 4}, kDouble), y = at::randn({7, 4}, kDouble);
  list.push_back({"mse", MeanSquaredError(), z, y, F::mse_loss(z, y)});
  list.push_back(
      {"huber", Huber({.delta = 0.7}), z, y, F::huber_loss(z, y, F::HuberLossFuncOptions().delta(0.7))});
  auto probability = at::rand({7, 4}, kDouble);
  list.push_back(
      {"bce", BinaryCrossEntropy(), z, probability, F::binary_cross_entropy_with_logits(z, probability)});
  auto bits = at::randint(0, 2, {7, 4}, at::kLong);
  list.push_back({"bce of integers", BinaryCrossEntropy(), z, bits,
                  F::binary_cross_entropy_with_logits(z, bits.to(at::kDouble))});
  auto counts = at::randint(0, 9, {7, 4}, at::kInt);
  list.push_back({"poisson", Poisson(), z, counts, F::poisson_nll_loss(z, counts.to(at::kDouble))});
  auto c = at::rand({4}, kDouble) + 0.1;
  auto sequence = 2 * at::randn({7, 4, 5, 2}, kDouble);
  for (const auto& weights : {Tensor(), c}) {
    for (double smoothing : {0.0, 0.15}) {
      for (const auto& logits : {z, sequence}) {
        auto options = F::CrossEntropyFuncOptions().label_smoothing(smoothing).weight(weights);
        auto shape = logits.sizes().vec();
        shape.erase(shape.begin() + 1);
        auto labels = at::randint(0, 4, shape, at::kLong);
        auto mixture = at::softmax(at::randn(logits.sizes(), kDouble), 1);
        auto name = fmt::format("cross entropy, smoothing {}, {} class weights, {} dimensions", smoothing,
                                weights.defined() ? "with" : "no", logits.dim());
        auto loss = CrossEntropy(cross_entropy_options(smoothing, weights));
        list.push_back({name + ", indices", loss, logits, labels, F::cross_entropy(logits, labels, options)});
        list.push_back(
            {name + ", probabilities", loss, logits, mixture, F::cross_entropy(logits, mixture, options)});
      }
    }
  }
  return list;
}

TEST(OutputLoss, ValueIsTorchsMean) {
  for (const auto& test : cases()) {
    SCOPED_TRACE(test.name);
    auto batch = batch_of(test.y);
    test.loss->check({test.z}, batch);
    double expected = test.torch_mean.item<double>();
    EXPECT_NEAR(value_of(test.loss, test.z, batch), expected, 1e-14 * std::max(1.0, std::abs(expected)));
  }
}

TEST(OutputLoss, RaggedBatchesAddUpToTheWholeSet) {
  for (const auto& test : cases()) {
    SCOPED_TRACE(test.name);
    auto whole = batch_of(test.y);
    Tensor sum = at::zeros({}, kDouble), denominator = at::zeros({}, kDouble);
    for (auto [begin, end] : {std::pair{0, 3}, {3, 6}, {6, 7}}) {
      Outputs z{test.z.slice(0, begin, end)};
      sum += test.loss->sum(z, whole.slice(begin, end));
      denominator += test.loss->denominator(z, whole.slice(begin, end));
    }
    double expected = test.torch_mean.item<double>();
    EXPECT_NEAR((sum / denominator).item<double>(), expected, 1e-14 * std::max(1.0, std::abs(expected)));
  }
}

TEST(OutputLoss, AWeightOfTwoIsAnExampleTwiceAndOfZeroIsNone) {
  auto w = at::tensor({1, 2, 0, 1, 1, 2, 1}, kDouble);
  auto twice = at::tensor({0, 1, 1, 3, 4, 5, 5, 6}, at::kLong);
  for (const auto& test : cases()) {
    SCOPED_TRACE(test.name);
    auto weighted = batch_of(test.y, w);
    test.loss->check({test.z}, weighted);
    double expected = value_of(test.loss, test.z.index_select(0, twice), batch_of(test.y).select(twice));
    EXPECT_NEAR(value_of(test.loss, test.z, weighted), expected, 1e-13 * std::max(1.0, std::abs(expected)));
  }
}

TEST(OutputLoss, ClosedHessianProductIsTheOneByAutograd) {
  auto w = at::rand({7}, kDouble) + 0.5;
  for (const auto& test : cases()) {
    for (const auto& weights : {Tensor(), w}) {
      SCOPED_TRACE(test.name + (weights.defined() ? ", weighted" : ""));
      auto batch = batch_of(test.y, weights);
      Outputs V{at::randn(test.z.sizes(), kDouble)};
      auto closed = test.loss->hessian_product({test.z}, batch, V)[0];
      auto oracle = test.loss->OutputLoss::Implementation::hessian_product({test.z}, batch, V)[0];
      ASSERT_EQ(closed.sizes(), test.z.sizes());
      EXPECT_LT((closed - oracle).norm().item<double>(), 1e-12 * (1 + oracle.norm().item<double>()));
      EXPECT_TRUE(test.loss.convex());
      EXPECT_GE((V[0] * closed).sum().item<double>(), 0);
    }
  }
}

// d2 sum / dz2 of each example, [N, D, D], and d sum / dz, [N, D].
std::pair<Tensor, Tensor> derivatives(const OutputLoss& loss, const Tensor& at_z, const Batch& batch) {
  int64_t N = at_z.size(0), D = at_z.numel() / N;
  Tensor z = at_z.detach().requires_grad_(), H = at::empty({N, D, D}, at_z.options());
  for (int64_t d = 0; d < D; ++d) {
    Tensor e = at::zeros({N, D}, at_z.options());
    e.select(1, d).fill_(1);
    H.select(2, d).copy_(loss->hessian_product({at_z}, batch, {e.view_as(at_z)})[0].reshape({N, D}));
  }
  return {H, torch::autograd::grad({loss->sum({z}, batch)}, {z})[0].reshape({N, D})};
}

TEST(OutputLoss, RootsHaveTheHessianAndTheGradient) {
  auto w = at::rand({7}, kDouble) + 0.5;
  int roots = 0;
  for (const auto& test : cases()) {
    for (const auto& weights : {Tensor(), w}) {
      SCOPED_TRACE(test.name + (weights.defined() ? ", weighted" : ""));
      auto batch = batch_of(test.y, weights);
      auto [H, gradient] = derivatives(test.loss, test.z, batch);
      auto root = test.loss->hessian_root(test.z, batch, gradient);
      EXPECT_EQ(root.has_value(), test.loss.name() == "cross_entropy");
      if (!root) continue;
      ++roots;
      int64_t D = H.size(1), T = D / test.z.size(1);
      ASSERT_EQ(root->S.sizes(), at::IntArrayRef({7, D, D - T}));
      EXPECT_LT((root->S.bmm(root->S.mT()) - H).norm().item<double>(), 1e-14 * H.norm().item<double>());
      Tensor again = root->S.bmm(root->r.unsqueeze(2)).squeeze(2);
      EXPECT_LT((again - gradient).norm().item<double>(), 1e-13 * gradient.norm().item<double>());
    }
  }
  EXPECT_EQ(roots, 32);
}

// Classes that are all but certain, or that no number tells from impossible, are divided by nowhere.
TEST(OutputLoss, RootsOfCrossEntropyAtItsLimits) {
  auto z =
      at::tensor({50., 0., -50., -900., 0., 0., 900., 3., -900., -900., -900., -900., -40., 0., 0., 700.},
                 kDouble)
          .view({4, 4});
  auto labels = at::tensor({0, 3, 1, 2}, at::kLong);
  for (bool flipped : {false, true}) {
    auto logits = flipped ? z.flip(1) : z;
    auto batch = batch_of(flipped ? 3 - labels : labels);
    auto [H, gradient] = derivatives(CrossEntropy(), logits, batch);
    auto root = CrossEntropy()->hessian_root(logits, batch, gradient);
    ASSERT_TRUE(root && root->S.isfinite().all().item<bool>() && root->r.isfinite().all().item<bool>());
    EXPECT_LT((root->S.bmm(root->S.mT()) - H).abs().max().item<double>(), 1e-15);
    // The gradients of the second and last example, whose labels have probability 0, are out of S's range.
    for (int64_t i : {0, 2}) {
      Tensor again = root->S[i].mv(root->r[i]);
      EXPECT_LT((again - gradient[i]).abs().max().item<double>(), 1e-15) << i;
    }
  }
  auto one = at::zeros({2, 1}, kDouble);
  EXPECT_FALSE(CrossEntropy()->hessian_root(one, batch_of(at::zeros({2}, at::kLong)), one));
}

TEST(OutputLoss, AutogradHessianProductIsTheDifferenceOfGradients) {
  for (const auto& test : cases()) {
    if (test.name == "huber") continue;  // a step across |d| = delta is not smooth
    SCOPED_TRACE(test.name);
    auto batch = batch_of(test.y);
    auto V = at::randn(test.z.sizes(), kDouble);
    auto gradient = [&](double t) {
      auto z = (test.z + t * V).detach().requires_grad_();
      return torch::autograd::grad({test.loss->sum({z}, batch)}, {z})[0];
    };
    auto difference = (gradient(1e-5) - gradient(-1e-5)) / 2e-5;
    auto product = test.loss->hessian_product({test.z}, batch, {V})[0];
    EXPECT_LT((product - difference).norm().item<double>(), 1e-8 * (1 + product.norm().item<double>()));
  }
}

TEST(OutputLoss, SumIsMeanTimesTheOutputsOfAnExample) {
  torch::manual_seed(5);
  constexpr auto sum = OutputReduction::sum;
  auto z = at::randn({6, 3}, kDouble), y = at::rand({6, 3}, kDouble), w = at::rand({6}, kDouble);
  auto batch = batch_of(y, w);
  auto ratio = [&](const OutputLoss& of_sum, const OutputLoss& of_mean, const Tensor& z, const Batch& b) {
    return value_of(of_sum, z, b) / value_of(of_mean, z, b);
  };
  EXPECT_NEAR(ratio(MeanSquaredError({.outputs = sum}), MeanSquaredError(), z, batch), 3, 1e-13);
  EXPECT_NEAR(ratio(BinaryCrossEntropy({.outputs = sum}), BinaryCrossEntropy(), z, batch), 3, 1e-13);
  EXPECT_NEAR(ratio(Huber({.outputs = sum}), Huber(), z, batch), 3, 1e-13);
  EXPECT_NEAR(ratio(Poisson({.outputs = sum}), Poisson(), z, batch), 3, 1e-13);
  EXPECT_NEAR(value_of(MeanSquaredError({.outputs = sum}), z, batch_of(y)),
              (z - y).square().sum(1).mean().item<double>(), 1e-14);
  auto labels = at::randint(0, 3, {6, 5}, at::kLong);
  auto sequence = at::randn({6, 3, 5}, kDouble);
  for (const auto& c : {Tensor(), at::tensor({0.5, 1.0, 2.0}, kDouble)})
    EXPECT_NEAR(ratio(CrossEntropy(cross_entropy_options(0.1, c, sum)),
                      CrossEntropy(cross_entropy_options(0.1, c)), sequence, batch_of(labels, w)),
                5, 1e-13);
}

TEST(OutputLoss, LabelsOfAnyIntegerWidth) {
  auto z = at::randn({4, 2}, kDouble);
  auto y = at::tensor({0, 1, 1, 0}, at::kLong);
  double expected = value_of(CrossEntropy(), z, batch_of(y));
  for (auto type :
       {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kUInt16, at::kUInt32, at::kUInt64}) {
    auto batch = batch_of(y.to(type));
    CrossEntropy()->check({z}, batch);
    EXPECT_EQ(value_of(CrossEntropy(), z, batch), expected) << c10::toString(type);
    auto column = batch_of(y.to(type).unsqueeze(1));
    BinaryCrossEntropy()->check({z.narrow(1, 0, 1)}, column);
    EXPECT_EQ(value_of(BinaryCrossEntropy(), z.narrow(1, 0, 1), column),
              value_of(BinaryCrossEntropy(), z.narrow(1, 0, 1), batch_of(y.to(at::kDouble).unsqueeze(1))));
  }
}

TEST(OutputLoss, RefusesShapesThatWouldBroadcast) {
  auto z = at::zeros({8, 1});
  EXPECT_THAT(refusal(MeanSquaredError(), {z}, batch_of(at::zeros({8}))),
              testing::AllOf(HasSubstr("mse"), HasSubstr("[8, 1]"), HasSubstr("targets [8]")));
  EXPECT_THAT(refusal(BinaryCrossEntropy(), {at::zeros({8, 3})}, batch_of(at::zeros({8, 1}))),
              HasSubstr("[8, 3]"));
  auto labels = at::zeros({8, 1}, at::kLong);
  EXPECT_THAT(refusal(CrossEntropy(), {at::zeros({8, 3})}, batch_of(labels)),
              testing::AllOf(HasSubstr("[8, 3]"), HasSubstr("[8, 1]"), HasSubstr("must be [8]")));
  EXPECT_THAT(refusal(CrossEntropy(), {at::zeros({8, 3})}, batch_of(at::zeros({8}))),
              HasSubstr("class indices must be integers"));
  EXPECT_THAT(refusal(CrossEntropy(), {at::zeros({8})}, batch_of(at::zeros({8}))), HasSubstr("[8]"));
  EXPECT_THAT(refusal(MeanSquaredError(), {z}, batch_of(at::zeros({8, 1}), at::ones({8, 1}))),
              HasSubstr("example weights have shape [8, 1]"));
}

TEST(OutputLoss, RefusesEntriesOutsideTheDomainWithPositionAndValue) {
  auto z = at::zeros({3, 2});
  auto targets = [](double bad) {
    auto y = at::zeros({3, 2});
    y[2][1] = bad;
    return batch_of(y);
  };
  EXPECT_THAT(refusal(MeanSquaredError(), {z}, targets(NAN)), HasSubstr("mse: targets[2, 1] = nan"));
  EXPECT_THAT(refusal(Huber(), {z}, targets(INFINITY)), HasSubstr("targets[2, 1] = inf"));
  EXPECT_THAT(refusal(BinaryCrossEntropy(), {z}, targets(1.5)), HasSubstr("targets[2, 1] = 1.5"));
  EXPECT_THAT(refusal(Poisson(), {z}, targets(-1)), HasSubstr("targets[2, 1] = -1"));
  EXPECT_THAT(refusal(CrossEntropy(), {z}, targets(-0.25)), HasSubstr("targets[2, 1] = -0.25"));
  EXPECT_THAT(
      refusal(CrossEntropy(), {z}, batch_of(at::tensor({0, 2, 1}, at::kLong))),
      testing::AllOf(HasSubstr("label [1] = 2"), HasSubstr("between 0 and 1"), HasSubstr("2 classes")));
  EXPECT_THAT(refusal(CrossEntropy(), {z}, batch_of(at::tensor({0, 1, -100}, at::kInt))),
              HasSubstr("label [2] = -100"));
  EXPECT_THAT(refusal(MeanSquaredError(), {z}, batch_of(z, at::tensor({1.0, -1.0, 1.0}))),
              HasSubstr("weights[1] = -1"));
}

TEST(OutputLoss, RefusesWrongCountsAndDtypes) {
  auto z = at::zeros({3, 2});
  EXPECT_EQ(refusal(MeanSquaredError(), {z, z}, batch_of(z)), "mse: takes one output, the model gives 2");
  EXPECT_THAT(refusal(CrossEntropy(), {z}, Batch{{{"", z}}, {}, {}}),
              HasSubstr("takes one target, the data have 0"));
  EXPECT_THAT(refusal(MeanSquaredError(), {z}, batch_of(z.to(at::kDouble))),
              testing::AllOf(HasSubstr("Float"), HasSubstr("Double")));
  EXPECT_THAT(refusal(MeanSquaredError(), {z.to(at::kLong)}, batch_of(z)), HasSubstr("floating point"));
}

TEST(OutputLoss, RefusesOptionsNamingFieldAndValue) {
  auto usage = [](const std::function<void()>& f) { return message_of(f, ErrorKind::usage); };
  EXPECT_THAT(usage([] { CrossEntropy(cross_entropy_options(1.5)); }), HasSubstr("label_smoothing = 1.5"));
  EXPECT_THAT(usage([] {
                CrossEntropy(cross_entropy_options(0, at::tensor({1.0, -2.0})));
              }),
              HasSubstr("class_weights[1] = -2"));
  EXPECT_THAT(usage([] { Huber({.delta = 0}); }), HasSubstr("delta = 0"));
  EXPECT_THAT(usage([] {
                CrossEntropy(cross_entropy_options(0, at::ones({3})))
                    ->check({at::zeros({2, 4})}, batch_of(at::zeros({2}, at::kLong)));
              }),
              HasSubstr("class_weights has 3 entries"));
}

TEST(FunctionLoss, AveragesOverExamplesWithWeights) {
  auto z = at::randn({5, 3}, kDouble), y = at::randn({5, 3}, kDouble), w = at::rand({5}, kDouble);
  auto squares = [](const Outputs& z, const Batch& b) {
    return (z[0] - b.targets[0].tensor).square().sum(1);
  };
  auto loss = FunctionLoss(squares, /*convex=*/true, "squares");
  EXPECT_EQ(loss.name(), "squares");
  EXPECT_TRUE(loss.convex());
  auto e = (z - y).square().sum(1);
  EXPECT_NEAR(value_of(loss, z, batch_of(y)), e.mean().item<double>(), 1e-14);
  EXPECT_NEAR(value_of(loss, z, batch_of(y, w)), ((w * e).sum() / w.sum()).item<double>(), 1e-14);
  auto V = at::randn({5, 3}, kDouble);
  EXPECT_LT((loss->hessian_product({z}, batch_of(y), {V})[0] - 2 * V).norm().item<double>(), 1e-13);
}

TEST(FunctionLoss, HessianProductOverSeveralOutputs) {
  // l = a^2 b + 3 c, with a, b, c outputs [N]: d2l = [[2b, 2a, 0], [2a, 0, 0], [0, 0, 0]].
  auto loss = FunctionLoss([](const Outputs& z, const Batch&) { return z[0].square() * z[1] + 3 * z[2]; });
  EXPECT_FALSE(loss.convex());
  auto draw = [] { return at::randn({4}, kDouble); };
  auto a = draw(), b = draw(), c = draw(), u = draw(), v = draw(), w = draw();
  torch::NoGradGuard guard;  // callers hold products outside autograd
  auto product = loss->hessian_product({a, b, c}, batch_of(a), {u, v, w});
  EXPECT_LT((product[0] - 2 * (b * u + a * v)).norm().item<double>(), 1e-14);
  EXPECT_LT((product[1] - 2 * a * u).norm().item<double>(), 1e-14);
  EXPECT_EQ(product[2].abs().max().item<double>(), 0);
}

TEST(FunctionLoss, LinearLossHasNoCurvature) {
  auto z = at::randn({4, 2}, kDouble);
  auto linear = FunctionLoss([](const Outputs& z, const Batch&) { return z[0].sum(1); });
  EXPECT_EQ(linear->hessian_product({z}, batch_of(z), {z})[0].abs().max().item<double>(), 0);
  auto constant = FunctionLoss([](const Outputs&, const Batch& b) { return at::zeros({b.size()}, kDouble); });
  EXPECT_EQ(constant->hessian_product({z}, batch_of(z), {z})[0].abs().max().item<double>(), 0);
}

TEST(FunctionLoss, RefusesAnythingButOneLossAnExample) {
  auto z = at::randn({4, 2}, kDouble);
  auto scalar = FunctionLoss([](const Outputs& z, const Batch&) { return z[0].sum(); });
  EXPECT_THAT(message_of([&] { scalar->sum({z}, batch_of(z)); }, ErrorKind::usage),
              testing::AllOf(HasSubstr("returned []"), HasSubstr("[4]")));
  EXPECT_THROW(FunctionLoss({}), Error);
}

}  // namespace
}  // namespace osculant
