// A user's first program against an installed Osculant: linear regression on X = diag(1, 2, 3), where the
// Hessian of the mean squared error is (2/3) X'X, with largest eigenvalue 6, and the least loss is 0.
#include <torch/nn/modules/linear.h>

#include <cmath>
#include <iostream>

#include "osculant/osculant.h"

int main() {
  torch::nn::Linear net(torch::nn::LinearOptions(3, 1).bias(false));
  net->to(at::kDouble);
  osculant::Dataset data(at::diag(at::arange(1, 4, at::kDouble)), at::ones({3, 1}, at::kDouble));
  osculant::Objective objective(net, osculant::MeanSquaredError(), data.full());

  auto found = osculant::eigenpairs(osculant::Hessian(objective), {.count = 1});
  std::cout << found.report();
  if (std::abs(found.largest().front().value - 6) > 1e-9) return 1;

  std::cout << osculant::minimize(objective, osculant::methods::lbfgs(), {.steps = 50}).brief_report()
            << '\n';
  if (objective.value() > 1e-12) return 2;

  try {
    osculant::eigenpairs(osculant::Hessian(objective), {.count = -1});
  } catch (const osculant::Error& error) {
    std::cout << "refused: " << error.what() << '\n';
    return 0;
  }
  return 3;
}
