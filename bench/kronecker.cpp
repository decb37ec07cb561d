// What K-FAC's factors and EKFAC cost over a whole data set, in units of g: one full gradient of the same
// network on the same data and batches in plain libtorch. One thread, float32. Verification of the layers, on
// 16 examples of each size of batch, is counted.

#include <torch/nn.h>

#include <functional>
#include <string>
#include <vector>

#include "bench/benchmark.h"
#include "bench/networks.h"
#include "osculant/curvature/kfac.h"
#include "osculant/data/dataset.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/objective.h"

namespace nn = torch::nn;
using at::Tensor;
namespace bench = osculant::bench;

namespace {

struct Problem {
  std::string name;
  std::function<nn::Sequential()> network;
  Tensor inputs, labels;
  int64_t batch_size;
  bool bars;
};

std::vector<bench::Row> measure(const Problem& problem, int64_t rounds) {
  using namespace osculant;
  Objective objective(problem.network(), CrossEntropy(),
                      Dataset(problem.inputs, problem.labels).batches(problem.batch_size));
  KfacOptions sampled{.sample = {.gradients = ScoreGradients::sampled}},
      exact{.sample = {.gradients = ScoreGradients::exact}};
  auto last = ekfac(objective, sampled);
  auto net = problem.network();
  auto bar = [&](double value) { return problem.bars ? std::optional(value) : std::nullopt; };
  return bench::measure_interleaved(
      [&] { bench::plain_gradient(net, problem.inputs, problem.labels, problem.batch_size); },
      {{problem.name, "K-FAC factors, one sample", [&] { kfac(objective, sampled); }, bar(1.4)},
       {problem.name, "K-FAC factors, exact", [&] { kfac(objective, exact); }, bar(4.8)},
       {problem.name, "EKFAC, one sample", [&] { ekfac(objective, sampled); }, bar(7)},
       {problem.name, "EKFAC, bases refreshed",
        [&] { ekfac(objective, sampled, *last.matrix, EkfacBases::refreshed); }, bar(4.8)},
       {problem.name, "EKFAC, eigenvalues alone",
        [&] { ekfac(objective, sampled, *last.matrix, EkfacBases::kept); }, bar(3)}},
      rounds);
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 7);
  at::set_num_threads(1);
  torch::manual_seed(0);
  std::vector<Problem> problems = {
      {"CA", bench::dense_network, at::randn({1024, 784}), at::randint(10, {1024}, at::kLong), 512, true},
      {"CB", bench::convolutional_network, at::randn({512, 1, 28, 28}), at::randint(10, {512}, at::kLong),
       256, false}};
  bench::Record record{"kronecker", "g, one full gradient in plain libtorch", {}};
  for (const auto& problem : problems) {
    auto rows = measure(problem, arguments.rounds);
    record.rows.insert(record.rows.end(), rows.begin(), rows.end());
  }
  bench::write(record, arguments.out);
}
