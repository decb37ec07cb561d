// Planted faults, each with what the advice has to say of it, and networks without one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/types.h>

#include <functional>

#include "osculant/base/random.h"
#include "osculant/model/zoo.h"
#include "osculant/study/advice_facts.h"
#include "osculant/study/advice_remedies.h"

namespace osculant {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Tensor normal(std::vector<int64_t> shape, const char* name = "numbers") {
  return RandomStream(1, name).normal(shape, at::kFloat);
}

Problem problem_of(Model model, OutputLoss loss, Tensor inputs, Tensor targets) {
  return {.model = std::move(model),
          .loss = std::move(loss),
          .train = Dataset(std::move(inputs), std::move(targets)),
          .test = {},
          .metrics = {},
          .memory_budget = int64_t{1} << 30};
}

Problem classifier(Model model, int64_t examples = 200) {
  Tensor x = normal({examples, 8}, "inputs");
  return problem_of(std::move(model), CrossEntropy(), x, (x.select(1, 0) > 0).to(at::kLong));
}

Model network(std::vector<int64_t> widths, Activation activation,
              Initialization kind = Initialization::torch_default, double weight_variance = 1) {
  MlpOptions options{.widths = std::move(widths), .activation = activation};
  options.initialization.kind = kind;
  options.initialization.weight_variance = weight_variance;
  return mlp(options);
}

std::vector<int64_t> deep(int64_t layers, int64_t width) {
  std::vector<int64_t> widths(static_cast<size_t>(layers) + 2, width);
  widths.front() = 8;
  widths.back() = 2;
  return widths;
}

std::vector<std::string> remedies(const Problem& problem, const RunConfig& config = {}) {
  return measure_facts(problem, config).remedies;
}

TEST(PlantedCases, AHealthyNetworkGetsNoWarning) {
  EXPECT_THAT(remedies(classifier(network({8, 32, 2}, Activation::relu))), IsEmpty());
  EXPECT_THAT(remedies(classifier(network(deep(10, 64), Activation::tanh, Initialization::critical))),
              IsEmpty());
  CnnOptions cnn_options{.height = 8, .width = 8, .filters = {4}, .hidden = 8, .outputs = 2};
  EXPECT_THAT(remedies(problem_of(cnn(cnn_options), CrossEntropy(), normal({100, 1, 8, 8}),
                                  at::arange(100, at::kLong) % 2)),
              IsEmpty());
}

TEST(PlantedCases, AVanishingStackIsNamedAndMended) {
  auto found = remedies(classifier(network(deep(20, 50), Activation::sigmoid)));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("No method trains"), HasSubstr("Dead signal"))));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("critical initialisation of sigmoid"),
                                    HasSubstr("it is healthy"), HasSubstr("stable rank"))));
}

TEST(PlantedCases, AnExplodingStackIsNamed) {
  auto found = remedies(classifier(network(deep(30, 50), Activation::relu, Initialization::scaled, 400)));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("No method trains"), HasSubstr("xplod"))));
  EXPECT_THAT(found, Contains(HasSubstr("critical initialisation of relu layers, s_w^2 = 2")));
}

// mean (w'x - y)^2 with all inputs along one direction: H = 2 a a'.
TEST(PlantedCases, AHessianOfRankOneIsCalledSo) {
  Tensor x = at::outer(normal({100}), normal({8}, "direction"));
  torch::nn::Linear line(torch::nn::LinearOptions(8, 1).bias(false));
  EXPECT_THAT(remedies(problem_of(Model(line), MeanSquaredError(), x, normal({100, 1}, "targets"))),
              Contains(HasSubstr("The Hessian has rank one")));
}

TEST(PlantedCases, DeadUnitsAreCounted) {
  Model model = network({8, 40, 2}, Activation::relu);
  Tensor theta = model.layout().theta().clone();
  theta.narrow(0, 8 * 40, 30).fill_(-100);  // the biases of 30 of 40 units
  model.layout().assign(theta);
  EXPECT_THAT(remedies(classifier(model)),
              Contains(HasSubstr("75 % of the units of layer 0 are 0 on every")));
}

// z = a b, y = 1: at a = b = 0 the gradient is 0 and the eigenvalues are +-2.
TEST(PlantedCases, ASaddleIsCalledSo) {
  Tensor theta = at::zeros({2});
  Model product({{"theta", theta.requires_grad_()}}, [theta](const Model::Inputs& x) -> Model::Outputs {
    return {(theta[0] * theta[1]).expand({x[0].size(0), 1})};
  });
  EXPECT_THAT(remedies(problem_of(product, MeanSquaredError(), normal({50, 3}), at::ones({50, 1}))),
              Contains(AllOf(HasSubstr("next to a saddle"), HasSubstr("eigenvalue of -2"))));
}

TEST(PlantedCases, BadlyScaledInputsAreToBeNormalised) {
  Tensor x = normal({200, 5}) * at::tensor({1.0F, 1e4F, 1.0F, 1.0F, 1e-2F});
  EXPECT_THAT(
      remedies(problem_of(network({5, 1}, Activation::tanh), MeanSquaredError(), x, normal({200, 1}, "y"))),
      Contains(HasSubstr("differ by a factor of")));
}

TEST(PlantedCases, LabelsThatContradictAreNoise) {
  Tensor x = normal({50, 8}, "inputs").repeat({2, 1}), y = at::arange(100, at::kLong) % 50 % 2;
  y.narrow(0, 50, 10) = 1 - y.narrow(0, 50, 10);
  EXPECT_THAT(remedies(problem_of(network({8, 16, 2}, Activation::tanh), CrossEntropy(), x, y)),
              Contains(AllOf(HasSubstr("10 of them another target"), HasSubstr("noise"))));
}

TEST(PlantedCases, LabelsDrawnAnewAreNoise) {
  Problem clean = classifier(network({8, 16, 2}, Activation::tanh), 2000);
  EXPECT_THAT(remedies(clean), IsEmpty());
  const auto& batch = clean.train.examples();
  Tensor y = batch.targets[0].tensor, flipped = RandomStream(4, "flips").uniform({2000}) < 0.2;
  EXPECT_THAT(remedies(problem_of(network({8, 16, 2}, Activation::tanh), CrossEntropy(),
                                  batch.inputs[0].tensor, at::where(flipped, 1 - y, y))),
              Contains(HasSubstr("Labels disagree with those of inputs nearby")));
}

TEST(PlantedCases, ATooLargeStepIsComparedWithTheCurvature) {
  RunConfig config;
  config.train.method = "sgd";
  config.train.options["learning_rate"] = 100.0;
  Problem problem = classifier(network({8, 32, 2}, Activation::tanh));
  EXPECT_THAT(remedies(problem, config), Contains(HasSubstr("The learning rate 100 is beyond")));
  config.train.options["learning_rate"] = 0.01;
  EXPECT_THAT(remedies(problem, config), IsEmpty());
}

TEST(StabilityWords, AreAsSureAsTheEigenvalue) {
  EXPECT_EQ(stability_words(4, 0, 0), "gradient descent is stable below a learning rate of 0.5");
  EXPECT_THAT(stability_words(4, 0, 0.01), HasSubstr("rate of 0.5, but for the same probability"));
  EXPECT_THAT(stability_words(4, 0, 0.365),
              AllOf(HasSubstr("unknown: at most 0.5"), HasSubstr("was missed")));
  EXPECT_THAT(stability_words(1, 2, 0), HasSubstr("unknown"));
  EXPECT_THAT(stability_words(-1, 0.1, 0), HasSubstr("no learning rate"));
}

TEST(PlantedCases, TiedWeightsAreNoFault) {
  torch::nn::Linear shared(8, 8), last(8, 2);
  torch::nn::Sequential holder(shared, last);
  Model tied(holder.ptr(), [shared, last](const Model::Inputs& x) mutable -> Model::Outputs {
    return {last->forward(at::tanh(shared->forward(at::tanh(shared->forward(x[0])))))};
  });
  EXPECT_THAT(remedies(classifier(tied)), IsEmpty());
}

TEST(PlantedCases, AnUnusedParameterIsNamed) {
  torch::nn::Linear used(8, 2), forgotten(3, 3);
  torch::nn::Sequential holder(used, forgotten);
  Model model(holder.ptr(),
              [used](const Model::Inputs& x) mutable -> Model::Outputs { return {used->forward(x[0])}; });
  EXPECT_THAT(remedies(classifier(model)),
              Contains(HasSubstr("does not depend on 2 of the parameters: 1.weight, 1.bias")));
}

// Dropout in training mode alone: curvature is that of evaluation mode, and what can run is not.
TEST(PlantedCases, ANetworkIsJudgedInTheModeItTrainsIn) {
  torch::nn::Sequential layers(torch::nn::Linear(8, 16), torch::nn::Tanh(), torch::nn::Dropout(0.5),
                               torch::nn::Linear(16, 2));
  Problem problem = classifier(Model(layers));
  problem.model.train(false);
  auto facts = measure_facts(problem, RunConfig{});
  EXPECT_TRUE(facts.training.random);
  EXPECT_FALSE(facts.training.coupled);
  EXPECT_THAT(facts.mode_note, AllOf(HasSubstr("measured in evaluation mode"), HasSubstr("dropout")));
  EXPECT_FALSE(problem.model.training());
  RunConfig still;
  still.model.mode = "eval";
  auto same = measure_facts(problem, still);
  EXPECT_FALSE(same.training.random);
  EXPECT_EQ(same.mode_note, "");
}

TEST(PlantedCases, ARandomNetworkIsNoFunction) {
  torch::nn::Linear layer(8, 2);
  Model noisy(layer.ptr(), [layer](const Model::Inputs& x) mutable -> Model::Outputs {
    return {at::dropout(layer->forward(x[0]), 0.5, /*train=*/true)};
  });
  Problem problem = classifier(noisy);
  auto facts = measure_facts(problem, RunConfig{});
  EXPECT_THAT(facts.remedies, Contains(HasSubstr("other outputs for the same inputs")));
  EXPECT_TRUE(facts.training.random);
}

}  // namespace
}  // namespace osculant
