// Three methods race to the same loss on networks of their own, taking turns on the machine.
#include <torch/nn.h>

#include <cmath>
#include <cstdio>

#include "osculant/osculant.h"
#include "osculant/study/race.h"

using namespace osculant;

namespace {

// sin(10 x) / (10 x) on [-1, 1] by a network 1-20-1.
Objective fresh_problem() {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Linear(1, 20), torch::nn::Tanh(), torch::nn::Linear(20, 1));
  net->to(torch::kFloat64);
  auto x = torch::linspace(-1, 1, 500, torch::kFloat64).unsqueeze(1);
  return Objective(net, MeanSquaredError(), Dataset(x, torch::sinc(10 / M_PI * x)).full());
}

}  // namespace

int main() {
  MinimizeOptions limits{.budget = gradient_equivalents(1500), .target = "loss<=1e-3"};
  auto results = race({{"adam", methods::adam({.learning_rate = 1e-2}), fresh_problem(), limits},
                       {"lbfgs", methods::lbfgs(), fresh_problem(), limits},
                       {"hessian_free", methods::hessian_free(), fresh_problem(), limits}});
  bool any = false;
  for (const auto& result : results) {
    if (!result.summary) continue;
    std::printf("%s\n", result.summary->brief_report().c_str());
    any = any || *result.summary->reached;
  }
  return any ? 0 : 1;
}
