// Several processes: seconds of the main operations on CA (784-1024-512-256-128-64-10, tanh), on as many
// processes as mpirun starts. Strong: 1,024 examples in all. Weak: 1,024 a process. And what a reduction
// costs, by its size. bench/run_benchmark.sh runs it with 1 and 2 processes; bench/scaling.py makes a model
// of both and compares.

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bench/benchmark.h"
#include "bench/networks.h"
#include "osculant/base/stopwatch.h"
#include "osculant/comm/communicator.h"
#include "osculant/data/dataset.h"
#include "osculant/io/single_writer.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/linearization.h"

namespace bench = osculant::bench;

namespace {

constexpr int64_t kExamples = 1024, kBatch = 512;

const osculant::Communicator& world() {
  return osculant::world_communicator();
}

// Of the slowest process, in milliseconds.
template <class Work>
double milliseconds(Work work) {
  world().least(0);
  osculant::Stopwatch watch;
  work();
  return -1e3 * world().least(-watch.seconds());
}

void measure_operations(const std::string& problem, int64_t examples, int64_t batch, int64_t rounds,
                        std::vector<bench::Row>& rows) {
  using namespace osculant;
  torch::manual_seed(0);
  auto net = bench::dense_network();
  Dataset data(torch::randn({examples, 784}), torch::randint(10, {examples}, torch::kInt64));
  Objective objective(Model(net), CrossEntropy(), data.batches(batch));
  auto kept = objective.linearize({.gradient = true, .hessian = true, .gauss_newton = true});
  Tensor v = torch::randn({objective.parameters()});
  std::vector<bench::Work> works{
      {problem, "gradient", [&] { objective.linearize({.gradient = true})->gradient(); }},
      {problem, "Hessian product", [&] { kept->hessian_product(v); }},
      {problem, "Gauss-Newton product", [&] { kept->gauss_newton_product(v); }}};
  std::vector<std::vector<double>> times(works.size());
  for (auto& work : works) work.run();
  for (int64_t round = 0; round < rounds; ++round)
    for (size_t i = 0; i < works.size(); ++i) times[i].push_back(milliseconds(works[i].run));
  for (size_t i = 0; i < works.size(); ++i) rows.push_back(bench::row_of(works[i], times[i]));
}

void measure_reductions(int64_t rounds, std::vector<bench::Row>& rows) {
  for (int64_t numbers : {1, 1 << 10, 1 << 15, 1 << 20, 1 << 23}) {
    at::Tensor x = at::zeros({numbers}, at::kFloat);
    std::vector<double> times;
    int64_t repeats = std::max<int64_t>(1, (1 << 18) / numbers);
    for (int64_t round = 0; round < rounds; ++round)
      times.push_back(milliseconds([&] {
                        for (int64_t i = 0; i < repeats; ++i) world().all_reduce_sum(x);
                      }) /
                      static_cast<double>(repeats));
    rows.push_back(bench::row_of({.problem = "reduction", .name = std::to_string(4 * numbers)}, times));
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 9);
  osculant::start_processes();
  at::set_num_threads(1);
  std::vector<bench::Row> rows;
  int64_t processes = world().size();
  measure_operations("strong", kExamples, kBatch, arguments.rounds, rows);
  measure_operations("weak", kExamples * processes, kBatch * processes, arguments.rounds, rows);
  measure_reductions(arguments.rounds, rows);
  std::string by = std::to_string(processes) + (processes == 1 ? " process" : " processes");
  for (auto& row : rows) row.problem += ", " + by;
  if (osculant::writes_files())
    bench::write({"scaling", "milliseconds of the slowest process; of reductions, by their bytes", rows},
                 arguments.out);
  osculant::end_processes();
}
