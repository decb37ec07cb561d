// What products with curvature cost on whole data sets, in units of g: one full gradient of the same network
// on the same data and batches in plain libtorch. One thread, float32.

#include <torch/nn.h>

#include <iostream>

#include "bench/benchmark.h"
#include "bench/networks.h"
#include "osculant/curvature/curvature.h"
#include "osculant/data/dataset.h"
#include "osculant/model/model.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/objective.h"

namespace nn = torch::nn;
using at::Tensor;
namespace bench = osculant::bench;

namespace {

constexpr int64_t kBlock = 16;

struct Problem {
  std::string name;
  std::function<nn::Sequential()> network;
  Tensor inputs, labels;
  int64_t batch_size;
  double hessian_bar, gauss_newton_bar;  // with kept graphs
};

osculant::Objective objective_of(const Problem& problem, int64_t memory_budget) {
  osculant::Objective objective(
      problem.network(), osculant::CrossEntropy(),
      osculant::Dataset(problem.inputs, problem.labels).batches(problem.batch_size));
  objective.set_memory_budget(memory_budget);
  return objective;
}

std::vector<bench::Row> measure(const Problem& problem, int64_t rounds) {
  const int64_t plenty = int64_t{1} << 33;
  auto kept = objective_of(problem, plenty), rebuilt = objective_of(problem, 0);
  osculant::Hessian H_kept(kept), H_rebuilt(rebuilt);
  osculant::GaussNewton G_kept(kept), G_rebuilt(rebuilt);
  std::cout << problem.name << ": " << H_kept.linearization().graphs().str() << '\n';

  Tensor v = at::randn({kept.parameters()}), block = at::randn({kBlock, kept.parameters()}).t();
  auto times = [&](const osculant::LinearOperator& A) { return [&A, v] { A.apply(v); }; };
  auto block_times = [&](const osculant::LinearOperator& A) { return [&A, block] { A.apply(block); }; };
  auto net = problem.network();
  return bench::measure_interleaved(
      [&] { bench::plain_gradient(net, problem.inputs, problem.labels, problem.batch_size); },
      {{problem.name, "Hessian product", times(H_kept), problem.hessian_bar},
       {problem.name, "Hessian product, no memory for graphs", times(H_rebuilt), 2.6},
       {problem.name, "Gauss-Newton product", times(G_kept), problem.gauss_newton_bar},
       {problem.name, "Gauss-Newton product, no memory for graphs", times(G_rebuilt), std::nullopt},
       {problem.name, "Hessian product, block of 16, a vector", block_times(H_kept), problem.hessian_bar,
        kBlock},
       {problem.name, "Gauss-Newton product, block of 16, a vector", block_times(G_kept),
        problem.gauss_newton_bar, kBlock}},
      rounds);
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 15);
  at::set_num_threads(1);
  torch::manual_seed(0);
  std::vector<Problem> problems = {{"CA", bench::dense_network, at::randn({1024, 784}),
                                    at::randint(10, {1024}, at::kLong), 512, 1.55, 1.2},
                                   {"CB", bench::convolutional_network, at::randn({512, 1, 28, 28}),
                                    at::randint(10, {512}, at::kLong), 256, 1.50, 1.4}};
  bench::Record record{"products", "g, one full gradient in plain libtorch", {}};
  for (const auto& problem : problems) {
    auto rows = measure(problem, arguments.rounds);
    record.rows.insert(record.rows.end(), rows.begin(), rows.end());
  }
  bench::write(record, arguments.out);
}
