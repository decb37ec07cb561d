// Low-rank approximations of a network's curvature: the Gauss-Newton matrix by Nystrom's method, the Hessian,
// which has eigenvalues of both signs, by a randomised range finder, each with its error; and a basis of the
// Hessian's dominant directions carried along while the network trains.
#include <torch/torch.h>

#include <iostream>

#include "osculant/osculant.h"

namespace {

osculant::Objective make_objective() {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Linear(10, 32), torch::nn::Tanh(), torch::nn::Linear(32, 3));
  auto inputs = torch::randn({500, 10});
  auto labels = inputs.narrow(1, 0, 3).argmax(1);
  return osculant::Objective(net, osculant::CrossEntropy(), osculant::Dataset(inputs, labels).full());
}

void print(const osculant::LowRank& approximation, const char* matrix) {
  std::cout << matrix << ", " << approximation.report();
}

}  // namespace

int main() {
  auto objective = make_objective();
  // Five products a refresh follow the five dominant directions from one theta to the next.
  auto subspace = torch::randn({objective.parameters(), 5});
  auto method = osculant::methods::momentum({.learning_rate = 0.1});
  for (int round = 0; round < 8; ++round) {
    auto pairs = osculant::refresh_subspace(osculant::Hessian(objective), subspace);
    std::cout << "loss " << objective.value() << ", dominant eigenvalue " << pairs.values[0].item<double>()
              << " within " << pairs.residuals[0].item<double>() << "\n";
    subspace = pairs.next;
    osculant::minimize(objective, method, {.steps = 20});
  }

  osculant::GaussNewton G(objective);
  print(osculant::low_rank(G, {.method = osculant::LowRankMethod::nystrom, .count = 20}), "Gauss-Newton");

  osculant::Hessian H(objective);
  print(osculant::low_rank(H, {.method = osculant::LowRankMethod::randomized_svd, .count = 20}), "Hessian");
  print(osculant::low_rank(H,
                           {.method = osculant::LowRankMethod::randomized_qr, .count = 60, .tolerance = 0.2}),
        "Hessian, to 20 %");
  print(osculant::low_rank(H, {.method = osculant::LowRankMethod::nystrom, .count = 20}), "Hessian");
}
