// min L + 0.01 norm(g), g the gradient of L: a layer of 10 inputs and 1 output, mean squared error, 100
// epochs of Adam at 0.01. Once as a loop of torch writes it, once as an objective; both take the same steps.
// Then what the penalty changed.
#include <torch/torch.h>

#include <cstdio>

#include "osculant/osculant.h"

using torch::Tensor;

namespace {

constexpr double kStrength = 0.01, kRate = 0.01;
constexpr int kEpochs = 100;

struct Problem {
  Tensor inputs, targets;
  torch::nn::Linear net{10, 1};
};

Problem make_problem() {
  torch::manual_seed(0);
  Problem p;
  p.inputs = torch::randn({100, 10}, torch::kFloat64);
  p.targets = torch::randn({100, 1}, torch::kFloat64);
  p.net->to(torch::kFloat64);
  return p;
}

// loss + 0.01 * norm(grad), differentiated as it stands.
void train_by_hand(Problem& p) {
  torch::optim::Adam adam(p.net->parameters(), torch::optim::AdamOptions(kRate));
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    Tensor loss = torch::mse_loss(p.net->forward(p.inputs), p.targets);
    auto g = torch::autograd::grad({loss}, p.net->parameters(), {}, /*retain_graph=*/true,
                                   /*create_graph=*/true);
    Tensor norm = torch::cat({g[0].flatten(), g[1].flatten()}).norm();
    adam.zero_grad();
    (loss + kStrength * norm).backward();
    adam.step();
  }
}

osculant::Objective objective_of(const Problem& p) {
  return {osculant::Model(p.net), osculant::MeanSquaredError(),
          osculant::Dataset(p.inputs, p.targets).full()};
}

void train(const osculant::Objective& objective) {
  osculant::minimize(objective, osculant::methods::adam({.learning_rate = kRate}), {.steps = kEpochs});
}

void print(const char* what, const osculant::Objective& objective) {
  auto [loss, g] = objective.value_and_gradient();
  std::printf("%-20s loss %.5f, norm(g) %.6f\n", what, loss, g.norm().item<double>());
}

}  // namespace

int main() {
  Problem before = make_problem(), plain = make_problem(), by_hand = make_problem(),
          penalised = make_problem();
  print("before training", objective_of(before));

  train(objective_of(plain));
  print("no penalty", objective_of(plain));

  train_by_hand(by_hand);
  print("torch's loop", objective_of(by_hand));

  auto penalty = osculant::regularizers::gradient_norm({.strength = kStrength});
  train(objective_of(penalised).plus(penalty));
  print("osculant", objective_of(penalised));

  double apart = (by_hand.net->weight - penalised.net->weight).abs().max().item<double>();
  std::printf("the weights of the last two differ by %.1g\n", apart);
  return apart < 1e-10 ? 0 : 1;
}
