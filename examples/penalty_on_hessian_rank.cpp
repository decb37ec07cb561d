// min L + 0.01 norm_F(Htilde - H)^2, Htilde the best approximation of rank one to the Hessian H: 100 epochs
// of Adam at 0.01, mean squared error. For a layer of 10 inputs and 1 output H is the same at any weights,
// and the penalty can change nothing; for 10-10-1 with tanh it brings H near rank one. The penalty draws a
// random vector a step; what it estimates is printed from the eigenvalues of H.
#include <torch/torch.h>

#include <cstdio>

#include "osculant/osculant.h"

using torch::Tensor;

namespace {

osculant::Objective make_problem(bool linear) {
  torch::manual_seed(0);
  auto inputs = torch::randn({100, 10}, torch::kFloat64), targets = torch::randn({100, 1}, torch::kFloat64);
  torch::nn::Sequential net;
  net->push_back(torch::nn::Linear(10, linear ? 1 : 10));
  if (!linear) {
    net->push_back(torch::nn::Tanh());
    net->push_back(torch::nn::Linear(10, 1));
  }
  net->to(torch::kFloat64);
  return {osculant::Model(net), osculant::MeanSquaredError(), osculant::Dataset(inputs, targets).full()};
}

struct Found {
  double loss, tail;  // norm_F(Htilde - H)^2, the squares of all eigenvalues but the largest
  double share;       // of norm_F(H)^2
  Tensor theta;
};

Found train(bool linear, bool penalised) {
  auto objective = make_problem(linear);
  auto trained = objective;
  if (penalised) trained = objective.plus(osculant::regularizers::tail_energy({.strength = 0.01, .rank = 1}));
  osculant::minimize(trained, osculant::methods::adam({.learning_rate = 0.01}), {.steps = 100});

  Tensor squares = torch::linalg_eigvalsh(osculant::dense(osculant::Hessian(objective)).matrix).square();
  double all = squares.sum().item<double>(), tail = all - squares.max().item<double>();
  Found found{objective.value(), tail, tail / all, objective.layout().theta().clone()};
  std::printf("  %-11s loss %.4f, norm_F(Htilde - H)^2 %8.4f, %4.1f %% of norm_F(H)^2\n",
              penalised ? "penalised" : "no penalty", found.loss, found.tail, 100 * found.share);
  return found;
}

}  // namespace

int main() {
  std::puts("10-1");
  Found plain = train(true, false), penalised = train(true, true);
  double moved = (plain.theta - penalised.theta).abs().max().item<double>();
  std::printf("  the weights differ by %.1g\n", moved);

  std::puts("10-10-1, tanh");
  Found curved = train(false, false), lowered = train(false, true);
  return moved < 1e-12 && lowered.tail < 0.2 * curved.tail && lowered.share < 0.6 * curved.share ? 0 : 1;
}
