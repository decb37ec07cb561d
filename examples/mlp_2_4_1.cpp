// theta <- theta - eta (H^-1 + eps I) g on a network of 17 parameters whose Hessian is indefinite: 2-4-1 with
// ReLU and mean squared error. What docs/example-2-4-1.md tells is printed here: the Hessian's eigenvalues,
// then 1000 steps by the article's formula, by its variants and by gradient descent, from the same five
// starts.
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "osculant/osculant.h"

namespace {

struct Problem {
  torch::nn::Sequential net{torch::nn::Linear(2, 4), torch::nn::ReLU(), torch::nn::Linear(4, 1)};
  torch::Tensor inputs = torch::rand({100, 2}, torch::kFloat64) * 2 - 1;

  osculant::Objective objective() {
    net->to(torch::kFloat64);
    auto targets = inputs.prod(1, /*keepdim=*/true) + inputs.sum(1, /*keepdim=*/true);
    return osculant::Objective(net, osculant::MeanSquaredError(), osculant::Dataset(inputs, targets).full());
  }

  // Units that are zero on every point have no gradient, and stay so.
  int64_t dead_units() {
    auto outputs = net->ptr<torch::nn::LinearImpl>(0)->forward(inputs);
    return (outputs > 0).any(0).logical_not().sum().item<int64_t>();
  }
};

Problem make_problem(int64_t start) {
  torch::manual_seed(start);
  return {};
}

void print_eigenvalues(osculant::Objective& objective) {
  auto values = torch::linalg_eigvalsh(osculant::dense(osculant::Hessian(objective)).matrix);
  for (int64_t i = 0; i < values.numel(); ++i) std::printf(" %.3g", values[i].item<double>());
  std::puts("");
}

// The loss after 10, 100 and 1000 steps; evaluations come every step on full batches.
struct Milestones : osculant::Observer {
  std::vector<double> losses;
  void on_evaluation(const osculant::Evaluation& evaluation, const osculant::Minimizer&) override {
    if (evaluation.step == 10 || evaluation.step == 100) losses.push_back(evaluation.loss);
  }
  void on_end(const osculant::Summary& summary, const osculant::Minimizer&) override {
    losses.resize(2, summary.final_loss);
    losses.push_back(summary.final_loss);
  }
};

// Medians over five starts, the range at the end, and how many of the twenty units are dead there.
void run(const char* words, const osculant::Method& method) {
  std::vector<std::vector<double>> losses(3);
  int64_t dead = 0;
  double work = 0;
  for (int64_t start = 1; start <= 5; ++start) {
    auto problem = make_problem(start);
    auto objective = problem.objective();
    auto milestones = std::make_shared<Milestones>();
    work += osculant::minimize(objective, method, {.steps = 1000, .observers = {milestones}})
                .gradient_equivalents;
    dead += problem.dead_units();
    for (size_t i = 0; i < 3; ++i) losses[i].push_back(milestones->losses[i]);
  }
  for (auto& column : losses) std::sort(column.begin(), column.end());
  std::printf("%-36s%10.3g%10.3g%10.3g  (%.3g to %.3g)%8.0f ge%4lld dead\n", words, losses[0][2],
              losses[1][2], losses[2][2], losses[2][0], losses[2][4], work / 5, static_cast<long long>(dead));
}

}  // namespace

int main() {
  using namespace osculant::methods;
  using osculant::CurvatureMode;
  for (int64_t start = 1; start <= 5; ++start) {
    auto problem = make_problem(start);
    auto objective = problem.objective();
    std::printf("Start %lld, loss %.3g, eigenvalues of the Hessian:", static_cast<long long>(start),
                objective.value());
    print_eigenvalues(objective);
  }

  std::printf("\n%-36s%10s%10s%10s\n", "Median loss after so many steps", "10", "100", "1000");
  run("the article: eta = 0.01, eps = 0.01", inverse_correction({.learning_rate = 0.01, .epsilon = 0.01}));
  run("  to the letter, l and not abs(l)",
      inverse_correction(
          {.learning_rate = 0.01, .epsilon = 0.01, .curvature = CurvatureMode::signed_values}));
  run("  eta = 1", inverse_correction({.learning_rate = 1.0, .epsilon = 0.01}));
  run("eta and eps in closed form", inverse_correction());
  run("Levenberg-Marquardt", levenberg_marquardt());
  run("gradient descent, eta = 0.01", sgd({.learning_rate = 0.01}));
  run("gradient descent, eta = 0.3", sgd({.learning_rate = 0.3}));
  run("Adam, eta = 0.01", adam({.learning_rate = 0.01}));
}
