// Methods against the optimizers of Python packages, step by step in float64
// (tests/oracle/optimizer_cases.py).
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>

#include "osculant/io/safetensors.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;

fs::path case_file(const std::string& name) {
  const char* folder = std::getenv("OSCULANT_ORACLE_CASES");
  return fs::path(folder ? folder : "") / "optimizers" / (name + ".safetensors");
}

// The parameters' entries begin as the first row of "theta" says.
Objective starting_at(const Safetensors& reference, std::vector<NamedTensor> parameters,
                      Model::Forward forward, const Tensor& x, const Tensor& y) {
  Model model(std::move(parameters), std::move(forward));
  model.layout().assign(reference.tensor("theta")[0]);
  return {model, MeanSquaredError(), Dataset(x, y).full()};
}

// z = W2 tanh(W1 x + b)
Objective matrices(const Safetensors& reference, bool bias = true) {
  Tensor first = at::zeros({3, 3}, at::kDouble), b = at::zeros({3}, at::kDouble), second = first.clone();
  auto forward = [=](const Model::Inputs& x) -> Model::Outputs {
    Tensor hidden = x[0].mm(first.t());
    return {at::tanh(bias ? hidden + b : hidden).mm(second.t())};
  };
  std::vector<NamedTensor> parameters{{"first", first}, {"b", b}, {"second", second}};
  if (!bias) parameters.erase(parameters.begin() + 1);
  return starting_at(reference, parameters, forward, reference.tensor("x"), reference.tensor("y"));
}

// z = c sin(theta)
Objective separable(const Safetensors& reference) {
  Tensor theta = at::zeros({2, 3}, at::kDouble), c = reference.tensor("c");
  auto forward = [=](const Model::Inputs&) -> Model::Outputs {
    return {(c * theta.sin().flatten()).unsqueeze(0)};
  };
  return starting_at(reference, {{"theta", theta}}, forward, at::zeros({1, 1}, at::kDouble),
                     reference.tensor("y").unsqueeze(0));
}

void expect_same_steps(const Objective& objective, const Safetensors& reference, const Method& method) {
  Tensor theta = reference.tensor("theta");
  Stepper stepper(objective, method);
  for (int64_t step = 1; step < theta.size(0); ++step) {
    stepper.step();
    double apart = (objective.layout().theta() - theta[step]).abs().max().item<double>();
    ASSERT_LE(apart, 1e-10) << "step " << step;
  }
  EXPECT_GT((theta[-1] - theta[0]).abs().max().item<double>(), 1e-2);
}

class OptimizerOracle : public testing::Test {
 protected:
  Safetensors reference(const std::string& name) const { return load_safetensors(case_file(name)); }
  bool there(const std::string& name) const { return fs::exists(case_file(name)); }
};

// Skips where the case was not made: no Python with torch, or without pytorch_optimizer.
#define NEEDS_CASE(name) \
  if (!there(name)) GTEST_SKIP() << case_file(name) << " is not there"

TEST_F(OptimizerOracle, MuonIsTorchs) {
  for (auto [name, scale] :
       {std::pair{"muon", MuonScale::original}, std::pair{"muon_match_rms", MuonScale::match_rms_adamw}}) {
    NEEDS_CASE(name);
    auto python = reference(name);
    MuonOptions options;
    options.weight_decay = 0.1;
    options.scale = scale;
    // torch leaves all that is no matrix to the user: AdamW with its defaults.
    options.adam_learning_rate = 1e-3;
    options.adam_beta2 = 0.999;
    options.adam_epsilon = 1e-8;
    options.adam_weight_decay = 0.01;
    expect_same_steps(matrices(python), python, methods::muon(options));
  }
}

TEST_F(OptimizerOracle, SoapIsPytorchOptimizers) {
  NEEDS_CASE("soap");
  auto python = reference("soap");
  expect_same_steps(
      matrices(python), python,
      methods::soap(
          {.learning_rate = 3e-3, .beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.1, .interval = 3}));
}

// There m / max(h, eps) is clipped to p and multiplied by lr, here m / max(gamma h, eps) is clipped to 1 and
// multiplied by the learning rate: gamma = p, learning rate lr p, eps p times theirs, weight decay over p.
TEST_F(OptimizerOracle, SophiaIsPytorchOptimizers) {
  NEEDS_CASE("sophia");
  auto python = reference("sophia");
  SophiaOptions options;
  options.learning_rate = 0.02;
  options.beta1 = 0.9;
  options.beta2 = 0.95;
  options.gamma = 0.02;
  options.epsilon = 0.02 * 1e-12;
  options.weight_decay = 0.1;
  options.interval = 3;
  expect_same_steps(separable(python), python, methods::sophia(options));
}

// Without weight decay and with an estimate at every step. With decay there theta shrinks by lr w, here, as
// in the authors' code, by lr w / (1 - beta1^t); between estimates there the mean of squares rests, here it
// takes in the last estimate again, as the authors' does.
TEST_F(OptimizerOracle, AdahessianIsPytorchOptimizers) {
  NEEDS_CASE("adahessian");
  auto python = reference("adahessian");
  AdahessianOptions options;
  options.learning_rate = 0.05;
  options.beta1 = 0.9;
  options.beta2 = 0.95;
  options.epsilon = 1e-4;
  expect_same_steps(separable(python), python, methods::adahessian(options));
}

// Its first step: after that the statistics there are sums of all G G', as in Gupta et al. (2018), and here
// decaying means.
TEST_F(OptimizerOracle, ShampoosFirstStepIsPytorchOptimizers) {
  NEEDS_CASE("shampoo");
  auto python = reference("shampoo");
  ShampooOptions options;
  options.learning_rate = 0.1;
  options.ridge = 1e-15;
  options.graft = Graft::none;
  expect_same_steps(matrices(python, false), python, methods::shampoo(options));
}

}  // namespace
}  // namespace osculant
