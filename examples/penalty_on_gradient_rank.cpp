// A gradient of low rank: min L + s sum over i > 1 of s_i(dL/dW)^2, s_i the singular values of the gradient
// of a weight matrix W, which torch gives as svd(weight.grad). 100 epochs of Adam at 0.01, mean squared
// error, s = 0.01. The weight of a layer of 10 inputs and 1 output is a row, its gradient of rank one
// already, and the penalty can change nothing. For 10-10-1 with tanh it is also written as a loop of torch,
// which takes the same steps; and there it takes s = 1 to see an effect, since the energy of a small gradient
// is a small number.
#include <torch/torch.h>

#include <cstdio>

#include "osculant/osculant.h"

using torch::Tensor;

namespace {

constexpr double kRate = 0.01;
constexpr int kEpochs = 100;

struct Problem {
  Tensor inputs, targets;
  torch::nn::Sequential net;
};

Problem make_problem(bool linear) {
  torch::manual_seed(0);
  Problem p;
  p.inputs = torch::randn({100, 10}, torch::kFloat64);
  p.targets = torch::randn({100, 1}, torch::kFloat64);
  p.net->push_back(torch::nn::Linear(10, linear ? 1 : 10));
  if (!linear) {
    p.net->push_back(torch::nn::Tanh());
    p.net->push_back(torch::nn::Linear(10, 1));
  }
  p.net->to(torch::kFloat64);
  return p;
}

Tensor tail_energy(const Tensor& gradient) {
  return torch::linalg_svdvals(gradient).slice(0, 1).square().sum();
}

void train_by_hand(Problem& p, double strength) {
  torch::optim::Adam adam(p.net->parameters(), torch::optim::AdamOptions(kRate));
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    Tensor loss = torch::mse_loss(p.net->forward(p.inputs), p.targets);
    auto g = torch::autograd::grad({loss}, {p.net->parameters().front()}, {}, /*retain_graph=*/true,
                                   /*create_graph=*/true);
    adam.zero_grad();
    (loss + strength * tail_energy(g[0])).backward();
    adam.step();
  }
}

void train(const Problem& p, double strength) {
  osculant::Objective objective(osculant::Model(p.net), osculant::MeanSquaredError(),
                                osculant::Dataset(p.inputs, p.targets).full());
  if (strength > 0)
    objective = objective.plus(osculant::regularizers::gradient_low_rank(
        {.strength = strength, .parameters = "0.weight", .rank = 1}));
  osculant::minimize(objective, osculant::methods::adam({.learning_rate = kRate}), {.steps = kEpochs});
}

// The share of the first weight's gradient beyond its largest singular value.
double print(const char* what, Problem& p) {
  Tensor loss = torch::mse_loss(p.net->forward(p.inputs), p.targets);
  Tensor g = torch::autograd::grad({loss}, {p.net->parameters().front()})[0];
  double tail = tail_energy(g).item<double>(), share = tail / g.square().sum().item<double>();
  std::printf("  %-22s loss %.4f, beyond the largest %.2e, %4.1f %% of norm_F(dL/dW)^2\n", what,
              loss.item<double>(), tail, 100 * share);
  return share;
}

double apart(const Problem& a, const Problem& b) {
  return (a.net->parameters().front() - b.net->parameters().front()).abs().max().item<double>();
}

}  // namespace

int main() {
  std::puts("10-1");
  Problem plain = make_problem(true), penalised = make_problem(true);
  train(plain, 0);
  train(penalised, 0.01);
  print("no penalty", plain);
  print("penalised, s = 0.01", penalised);
  double moved = apart(plain, penalised);

  std::puts("10-10-1, tanh");
  Problem curved = make_problem(false), by_hand = make_problem(false), weak = make_problem(false),
          strong = make_problem(false);
  train(curved, 0);
  train_by_hand(by_hand, 0.01);
  train(weak, 0.01);
  train(strong, 1);
  double before = print("no penalty", curved);
  print("torch's loop, s = 0.01", by_hand);
  print("penalised, s = 0.01", weak);
  double after = print("penalised, s = 1", strong);
  double difference = apart(by_hand, weak);
  std::printf("  the weights of the middle two differ by %.1g\n", difference);
  return moved < 1e-12 && difference < 1e-10 && after < before ? 0 : 1;
}
