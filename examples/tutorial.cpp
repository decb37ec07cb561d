// tutorial.cpp
#include <torch/torch.h>

#include <iostream>

#include "osculant/osculant.h"

int main() {
  torch::manual_seed(0);

  // Your network and your data: any module with a forward(Tensor), any tensors.
  torch::nn::Sequential net(torch::nn::Linear(8, 64), torch::nn::Tanh(), torch::nn::Linear(64, 3));
  auto inputs = torch::randn({600, 8});
  auto labels = (inputs.select(1, 0) * inputs.select(1, 1) > 0).to(torch::kLong) +
                (inputs.select(1, 2) > 0.5).to(torch::kLong);

  // An objective: network, loss, data in batches of 200. It takes the parameters over into one vector.
  osculant::Objective objective(net, osculant::CrossEntropy(),
                                osculant::Dataset(inputs, labels).batches(200));
  std::cout << "parameters " << objective.layout().size() << ", loss " << objective.value() << "\n";

  // Do signals get through the layers, and gradients back?
  std::cout << osculant::gradient_flow(objective).report() << "\n";

  // The ends of the Hessian's spectrum, each eigenvalue with its bound.
  osculant::Hessian H(objective);
  std::cout << osculant::eigenpairs(H, {.count = 3, .target = osculant::EigenTarget::both}).report();

  // Train: a budget, a target, or both.
  auto summary =
      osculant::minimize(objective, osculant::methods::hessian_free(),
                         {.budget = osculant::seconds(5), .target = "loss<=0.05", .batch_size = 600});
  std::cout << summary.full_report();

  // theta has moved, so H speaks of another place; a new one of this.
  osculant::Hessian after(objective);
  std::cout << osculant::eigenpairs(after, {.count = 3, .target = osculant::EigenTarget::both}).report();
}
