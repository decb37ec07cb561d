// Penalties on gradient and Hessian, at the settings of the article they come from: a network of 10 inputs
// and 1 output, mean squared error, 100 steps of Adam at 0.01, penalty 0.01. What they do to the loss, the
// Hessian and the gradient of the first weight matrix, medians over three seeds: first for a linear layer,
// whose Hessian no penalty can change, then for 10-10-1 with tanh. Printed in docs/regularizers.md.
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "osculant/osculant.h"

namespace {

using namespace osculant::regularizers;
using osculant::PenaltyMatrix;
using torch::Tensor;

osculant::Objective make_problem(bool linear, int64_t seed) {
  torch::manual_seed(seed);
  auto inputs = torch::randn({100, 10}, torch::kFloat64);
  auto targets = torch::randn({100, 1}, torch::kFloat64);
  torch::nn::Sequential net;
  net->push_back(torch::nn::Linear(10, linear ? 1 : 10));
  if (!linear) {
    net->push_back(torch::nn::Tanh());
    net->push_back(torch::nn::Linear(10, 1));
  }
  net->to(torch::kFloat64);
  return {osculant::Model(net), osculant::MeanSquaredError(), osculant::Dataset(inputs, targets).full()};
}

// Loss, norm of the gradient, largest eigenvalue in size, trace, eigenvalues above 1 % of the largest, share
// of entries below 1 % of the largest, share of norm_F^2 beyond the largest eigenvalue, and the same of the
// first weight's gradient.
constexpr int quantities = 8;
std::vector<double> measure(const osculant::Objective& objective) {
  auto [loss, g] = objective.value_and_gradient();
  Tensor H = osculant::dense(osculant::Hessian(objective)).matrix, values = torch::linalg_eigvalsh(H).abs();
  const auto& weight = objective.layout().parameters().front();
  Tensor s = torch::linalg_svdvals(g.narrow(0, 0, weight.size).view(weight.shape));
  auto beyond_the_first = [](const Tensor& sizes) {
    Tensor squares = sizes.square();
    return 1 - (squares.max() / squares.sum()).item<double>();
  };
  double largest = values.max().item<double>();
  return {loss,
          g.norm().item<double>(),
          largest,
          H.trace().item<double>(),
          (values > 0.01 * largest).sum().item<double>(),
          (H.abs() < 0.01 * H.abs().max()).to(torch::kFloat64).mean().item<double>(),
          beyond_the_first(values),
          beyond_the_first(s)};
}

void print_row(const char* name, std::vector<std::vector<double>> of_seeds) {
  std::printf("%-26s", name);
  for (int q = 0; q < quantities; ++q) {
    std::vector<double> column;
    for (const auto& row : of_seeds) column.push_back(row[static_cast<size_t>(q)]);
    std::sort(column.begin(), column.end());
    std::printf("%10.3g", column[column.size() / 2]);
  }
  std::puts("");
}

void run(const char* name, bool linear, const std::vector<RegularizerPtr>& penalties, int64_t steps = 100,
         double sharpness_radius = 0) {
  std::vector<std::vector<double>> rows;
  for (int64_t seed = 1; seed <= 3; ++seed) {
    auto objective = make_problem(linear, seed);
    if (steps > 0)
      osculant::minimize(objective.with_regularizers(penalties),
                         osculant::methods::adam({.learning_rate = 0.01}),
                         {.steps = steps, .sharpness_radius = sharpness_radius, .evaluate_every = steps});
    rows.push_back(measure(objective));
  }
  print_row(name, rows);
}

void table(const char* title, bool linear, double strength) {
  std::printf("\n%s, strength %g\n%-26s", title, strength, "");
  for (const char* column :
       {"loss", "norm(g)", "max abs l", "trace", "rank 1%", "sparse 1%", "tail H", "tail dW"})
    std::printf("%10s", column);
  std::puts("");
  auto gauss_newton = PenaltyMatrix::gauss_newton;
  run("before", linear, {}, 0);
  run("no penalty", linear, {});
  run("gradient_norm", linear, {gradient_norm({.strength = strength})});
  run("squared_gradient_norm", linear, {squared_gradient_norm({.strength = strength})});
  // Of the energy of a small gradient, and a mean over all entries: small numbers.
  run("gradient_low_rank x 100", linear,
      {gradient_low_rank({.strength = 100 * strength, .parameters = "0.weight", .rank = 1})});
  run("spectral", linear, {spectral({.strength = strength})});
  run("tail_energy, rank 1", linear, {tail_energy({.strength = strength, .rank = 1})});
  run("trace of G", linear, {trace({.strength = strength, .matrix = gauss_newton})});
  run("frobenius", linear, {frobenius({.strength = strength})});
  run("column_sparsity x 100", linear, {column_sparsity({.strength = 100 * strength, .columns = 4})});
  run("sharpness_radius = 0.05", linear, {}, 100, 0.05);
}

}  // namespace

int main() {
  table("10-1, linear", true, 0.01);
  table("10-10-1, tanh", false, 0.01);
  table("10-10-1, tanh", false, 0.1);
}
