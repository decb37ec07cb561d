// Value, gradient, H v, G v, Fisher products and dense H of exported networks against Python's autograd
// (tests/oracle/).
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "osculant/base/random.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/empirical_fisher.h"
#include "osculant/curvature/fisher.h"
#include "osculant/data/dataset.h"
#include "osculant/io/safetensors.h"
#include "osculant/model/exported_program.h"
#include "osculant/model/zoo.h"
#include "osculant/objective/linearization.h"
#include "osculant/objective/objective.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;

fs::path cases() {
  const char* folder = std::getenv("OSCULANT_ORACLE_CASES");
  return folder ? folder : "";
}

const std::vector<std::string> names{"mlp_mse",
                                     "mlp_mse_sum",
                                     "mlp_mse_weighted",
                                     "mlp_cross_entropy",
                                     "mlp_cross_entropy_options",
                                     "mlp_cross_entropy_probabilities",
                                     "mlp_binary_cross_entropy",
                                     "mlp_huber",
                                     "mlp_poisson",
                                     "unused",
                                     "frozen",
                                     "exported_in_eval",
                                     "one_batch_size",
                                     "cnn_train",
                                     "cnn_eval",
                                     "cnn_train_training",
                                     "cnn_eval_training",
                                     "transformer",
                                     "transformer_float32",
                                     "language_model",
                                     "lstm",
                                     "lstm_float32",
                                     "gru",
                                     "rnn",
                                     "tied",
                                     "residual",
                                     "many_parts"};

OutputLoss loss_of(const nlohmann::json& spec, const Safetensors& reference) {
  auto kind = spec.at("kind").get<std::string>();
  if (kind == "mse" || kind == "mse_weighted") return MeanSquaredError();
  if (kind == "mse_sum") return MeanSquaredError({.outputs = OutputReduction::sum});
  if (kind == "binary_cross_entropy") return BinaryCrossEntropy();
  if (kind == "huber") return Huber({.delta = spec.at("delta")});
  if (kind == "poisson") return Poisson();
  if (kind == "cross_entropy") {
    CrossEntropyOptions options;
    options.label_smoothing = spec.value("label_smoothing", 0.0);
    if (reference.contains("class_weights")) options.class_weights = reference.tensor("class_weights");
    return CrossEntropy(options);
  }
  return FunctionLoss([](const OutputLoss::Outputs& outputs, const Batch&) {
    Tensor sum;
    for (const auto& z : outputs) {
      auto squares = z.square().flatten(1 < z.dim() ? 1 : 0);
      auto per_example = z.dim() > 1 ? squares.sum(1) : squares;
      sum = sum.defined() ? sum + per_example : per_example;
    }
    return sum;
  });
}

Batch examples_of(const nlohmann::json& description, const Safetensors& data) {
  Batch batch;
  for (const std::string name : description.at("inputs"))
    batch.inputs.push_back({name, data.tensor("inputs." + name)});
  batch.targets.push_back({"", data.tensor("targets")});
  if (data.contains("weights")) batch.weights = data.tensor("weights");
  return batch;
}

void expect_close(const char* what, const Tensor& ours, const Tensor& theirs) {
  ASSERT_EQ(ours.sizes(), theirs.sizes()) << what;
  double error = (ours - theirs).norm().item<double>(), scale = theirs.norm().item<double>();
  EXPECT_LE(error, 1e-10 * std::max(scale, 1e-8)) << what << ", norm " << scale;
}

class Oracle : public testing::TestWithParam<std::string> {};

TEST_P(Oracle, CurvatureIsPythons) {
  auto folder = cases() / GetParam();
  if (!fs::exists(cases() / "stamp")) GTEST_SKIP() << "OSCULANT_PYTHON has no torch, so there are no cases";
  std::ifstream file(folder / "case.json");
  auto description = nlohmann::json::parse(file);
  auto reference = load_safetensors(folder / "reference.safetensors");
  auto data = load_safetensors(folder / "data.safetensors");

  auto model = load_exported(
      folder / "model.pt2",
      {.dtype = at::kDouble, .frozen = description.at("frozen").get<std::vector<std::string>>()});
  model.train(description.at("training").get<bool>());
  std::vector<std::string> parameters;
  for (const auto& p : model.layout().parameters()) parameters.push_back(p.name);
  ASSERT_EQ(parameters, description.at("parameters").get<std::vector<std::string>>());

  auto batch = examples_of(description, data);
  Objective objective(model, loss_of(description.at("loss"), reference),
                      Dataset(batch).batches(description.at("batch_size")));
  auto [value, gradient] = objective.value_and_gradient();
  expect_close("value", at::tensor({value}, at::kDouble), reference.tensor("value"));
  expect_close("gradient", gradient, reference.tensor("gradient"));
  const auto& v = reference.tensor("v");
  Hessian hessian(objective);
  expect_close("H v", hessian.apply(v), reference.tensor("Hv"));
  expect_close("H", dense(hessian).matrix, reference.tensor("H"));
  expect_close("G v", GaussNewton(objective).apply(v), reference.tensor("Gv"));
  if (reference.contains("Ev"))
    expect_close("E v", EmpiricalFisher(objective).apply(v), reference.tensor("Ev"));
  if (reference.contains("Fv")) expect_close("F v", Fisher(objective).apply(v), reference.tensor("Fv"));
}

// The zoo's transformer with the weights of the Python one it is written after: outputs, and what they give
// over positions, each by a road of its own (attention as libtorch has it, and written out).
TEST(LanguageModel, IsPythonsInTheZooToo) {
  if (!fs::exists(cases() / "stamp")) GTEST_SKIP() << "OSCULANT_PYTHON has no torch, so there are no cases";
  auto folder = cases() / "language_model";
  auto reference = load_safetensors(folder / "reference.safetensors");
  auto data = load_safetensors(folder / "data.safetensors");
  auto model =
      transformer({.vocabulary = 5, .context = 4, .width = 4, .layers = 1, .heads = 2, .dtype = at::kDouble});
  model.load_state(load_exported(folder / "model.pt2", {.dtype = at::kDouble}).state());

  Dataset examples(data.tensor("inputs.tokens"), data.tensor("targets"));
  expect_close("outputs", model.forward(examples.examples())[0].detach(), reference.tensor("outputs.0"));
  Objective objective(model, CrossEntropy(), examples.batches(4));
  auto [value, gradient] = objective.value_and_gradient();
  expect_close("value", at::tensor({value}, at::kDouble), reference.tensor("value"));
  expect_close("gradient", gradient, reference.tensor("gradient"));
  const auto& v = reference.tensor("v");
  expect_close("H", dense(Hessian(objective)).matrix, reference.tensor("H"));
  expect_close("G v", GaussNewton(objective).apply(v), reference.tensor("Gv"));
  expect_close("F v", Fisher(objective).apply(v), reference.tensor("Fv"));
}

// Over 200 seeds of two draws each the mean of v'F v is the exact one to within four of its standard errors.
TEST(LanguageModel, HasASampledFisherWithoutBiasOverPositions) {
  auto model =
      transformer({.vocabulary = 4, .context = 3, .width = 4, .layers = 1, .heads = 2, .dtype = at::kDouble});
  RandomStream random(1, "tokens");
  Dataset examples(random.integers(4, {6, 3}), random.integers(4, {6, 3}));
  Objective objective(model, CrossEntropy(), examples.batches(4));
  Tensor v = random.normal({model.parameters()}, at::kDouble);
  double exact = v.dot(Fisher(objective).apply(v)).item<double>(), sum = 0, squares = 0;
  constexpr int seeds = 200;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    double value = SampledFisher(objective, {.draws = 2, .seed = seed}).quadratic_form(v).value;
    sum += value / seeds;
    squares += value * value / seeds;
  }
  EXPECT_NEAR(sum, exact, 4 * std::sqrt((squares - sum * sum) / seeds));
}

INSTANTIATE_TEST_SUITE_P(Cases, Oracle, testing::ValuesIn(names),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace osculant
