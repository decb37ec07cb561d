// The smallest training run: a linear layer 10 -> 1, mean squared error, 100 steps of Adam at 0.01. Its
// Hessian is the same everywhere, (2/N) X'X with a 1 appended to every input, and that is printed beside what
// the library finds.
#include <torch/torch.h>

#include <iostream>

#include "osculant/osculant.h"

int main() {
  torch::manual_seed(0);
  auto inputs = torch::randn({64, 10}, torch::kFloat64);
  auto targets = torch::randn({64, 1}, torch::kFloat64);
  torch::nn::Linear net(10, 1);
  net->to(torch::kFloat64);

  osculant::Objective objective(net, osculant::MeanSquaredError(), osculant::Dataset(inputs, targets).full());
  auto summary =
      osculant::minimize(objective, osculant::methods::adam({.learning_rate = 0.01}), {.steps = 100});
  std::cout << summary.brief_report() << "\n";

  auto found = osculant::eigenpairs(osculant::Hessian(objective), {.count = 3});
  std::cout << found.report();

  auto X = torch::cat({inputs, torch::ones({64, 1}, torch::kFloat64)}, 1);
  auto exact = torch::linalg_eigvalsh(2.0 / 64 * X.t().mm(X)).flip(0).slice(0, 0, 3);
  std::cout << "exact, from (2/N) X'X:\n" << exact << "\n";
}
