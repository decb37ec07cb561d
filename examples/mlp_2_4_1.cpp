// theta <- theta - eta (H^-1 + eps I) g on a network of 17 parameters whose Hessian is indefinite: 2-4-1 with
// ReLU and mean squared error, 1000 steps at eta = eps = 0.01, against gradient descent at the same eta and
// the same method with eta and eps in closed form, from the same start.
#include <torch/torch.h>

#include <iostream>

#include "osculant/osculant.h"

namespace {

osculant::Objective make_objective() {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Linear(2, 4), torch::nn::ReLU(), torch::nn::Linear(4, 1));
  net->to(torch::kFloat64);
  auto inputs = torch::rand({100, 2}, torch::kFloat64) * 2 - 1;
  auto targets = inputs.prod(1, /*keepdim=*/true) + inputs.sum(1, /*keepdim=*/true);
  return osculant::Objective(net, osculant::MeanSquaredError(), osculant::Dataset(inputs, targets).full());
}

}  // namespace

int main() {
  auto corrected = make_objective();
  auto values = torch::linalg_eigvalsh(osculant::dense(osculant::Hessian(corrected)).matrix);
  auto sizes = values.abs();
  std::cout << corrected.parameters() << " parameters; Hessian eigenvalues from "
            << values.min().item<double>() << " to " << values.max().item<double>()
            << ", the largest in size " << (sizes.max() / sizes.min()).item<double>()
            << " times the smallest\n";

  auto method = osculant::methods::inverse_correction({.learning_rate = 0.01, .epsilon = 0.01});
  std::cout << osculant::minimize(corrected, method, {.steps = 1000}).brief_report() << "\n";

  auto automatic = make_objective();
  std::cout << osculant::minimize(automatic, osculant::methods::inverse_correction(), {.steps = 1000})
                   .brief_report()
            << "\n";

  auto plain = make_objective();
  auto descent = osculant::methods::sgd({.learning_rate = 0.01});
  std::cout << osculant::minimize(plain, descent, {.steps = 1000}).brief_report() << "\n";
}
