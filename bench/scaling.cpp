// Several processes: seconds of the main operations on CA (784-1024-512-256-128-64-10, tanh), on as many
// processes as mpirun starts. Strong: 1,024 examples in all. Weak: 1,024 a process; half of it, on one. What
// each sends, and what a reduction and a gathering cost by their size. bench/run_benchmark.sh runs it with 1
// and 2 processes; bench/scaling.py makes a model of both and compares.

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/benchmark.h"
#include "bench/networks.h"
#include "osculant/base/stopwatch.h"
#include "osculant/comm/communicator.h"
#include "osculant/curvature/kfac.h"
#include "osculant/data/dataset.h"
#include "osculant/io/single_writer.h"
#include "osculant/linop/by_rows.h"
#include "osculant/linop/dealt_blocks.h"
#include "osculant/linop/operators.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/linearization.h"
#include "osculant/spectrum/lanczos.h"

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

// As K-FAC has them, of damped factors dealt to the processes.
void invert(const std::vector<osculant::KroneckerBlock>& blocks) {
  osculant::DealtWork all;
  for (const auto& block : blocks) all.costs.push_back(osculant::decomposition_cost(block));
  all.like = [&](size_t b) { return osculant::matrices_of(blocks[b]); };
  all.work = [&](size_t b) {
    return std::optional(osculant::matrices_of(*osculant::factored_inverse(blocks[b], 0.1)));
  };
  osculant::deal(all, world());
}

struct Operations {
  osculant::Objective objective;
  std::shared_ptr<osculant::Linearization> kept;
  osculant::OperatorPtr H;
  std::vector<osculant::KroneckerBlock> factors;
  osculant::RandomStream random{0, "scaling"};

  Operations(int64_t examples, int64_t batch)
      : objective(
            osculant::Model(bench::dense_network()), osculant::CrossEntropy(),
            osculant::Dataset(torch::randn({examples, 784}), torch::randint(10, {examples}, torch::kInt64))
                .batches(batch)) {
    kept = objective.linearize({.gradient = true, .hessian = true, .gauss_newton = true});
    osculant::VectorSpace space(objective.parameters(), objective.layout().options());
    auto f = [this](const at::Tensor& X) { return kept->hessian_product(X); };
    H = by_rows(osculant::function_operator(space, f, "hessian"), world());
    factors = osculant::kfac(objective).matrix->blocks();
  }

  void lanczos(int64_t steps) {
    osculant::Lanczos basis(*H, {.capacity = steps, .full = true}, random);
    basis.start();
    while (!basis.full()) basis.extend();
  }
};

std::vector<bench::Work> works_of(Operations& of, const std::string& problem) {
  at::Tensor v = torch::randn({of.objective.parameters()});
  constexpr int64_t kSteps = 8;
  return {
      {problem, "gradient", [&of] { of.objective.linearize({.gradient = true})->gradient(); }},
      {problem, "Hessian product", [&of, v] { of.kept->hessian_product(v); }},
      {.problem = problem, .name = "Lanczos step", .run = [&of] { of.lanczos(kSteps); }, .pieces = kSteps},
      {problem, "K-FAC factors", [&of] { osculant::kfac(of.objective); }},
      {problem, "K-FAC inverses", [&of] { invert(of.factors); }}};
}

void measure_operations(const std::string& problem, int64_t examples, int64_t batch, int64_t rounds,
                        std::vector<bench::Row>& rows) {
  torch::manual_seed(0);
  Operations operations(examples, batch);
  auto works = works_of(operations, problem);
  std::vector<std::vector<double>> times(works.size());
  for (auto& work : works) {
    work.run();
    auto before = world().traffic();
    work.run();
    auto after = world().traffic();
    auto put = [&](const char* what, int64_t count) {
      double one = static_cast<double>(count) / work.pieces;
      rows.push_back({.problem = what,
                      .work = work.name,
                      .median = one,
                      .low = one,
                      .high = one,
                      .rounds = {one},
                      .bar = {}});
    };
    if (problem == "strong")
      put("messages", after.calls - before.calls), put("bytes", after.bytes - before.bytes);
  }
  for (int64_t round = 0; round < rounds; ++round)
    for (size_t i = 0; i < works.size(); ++i)
      times[i].push_back(milliseconds(works[i].run) / works[i].pieces);
  for (size_t i = 0; i < works.size(); ++i) rows.push_back(bench::row_of(works[i], times[i]));
}

// Of messages by their bytes on each process: a sum of as many, a gathering of as many in all.
void measure_messages(int64_t rounds, std::vector<bench::Row>& rows) {
  for (int64_t numbers : {2, 1 << 10, 1 << 15, 1 << 20, 1 << 23}) {
    at::Tensor x = at::zeros({numbers}, at::kFloat), mine = at::zeros({numbers / world().size()}, at::kFloat);
    std::vector<int64_t> sizes(static_cast<size_t>(world().size()), mine.numel());
    int64_t repeats = std::clamp<int64_t>((1 << 20) / numbers, 1, 1000);
    auto measure = [&](const char* what, auto send) {
      std::vector<double> times;
      for (int64_t round = 0; round < rounds; ++round)
        times.push_back(milliseconds([&] {
                          for (int64_t i = 0; i < repeats; ++i) send();
                        }) /
                        static_cast<double>(repeats));
      rows.push_back(bench::row_of({.problem = what, .name = std::to_string(4 * numbers)}, times));
    };
    measure("reduction", [&] { world().all_reduce_sum(x); });
    measure("gathering", [&] { world().all_gather(mine, sizes); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 5);
  osculant::start_processes();
  at::set_num_threads(1);
  std::vector<bench::Row> rows;
  int64_t processes = world().size();
  measure_operations("strong", kExamples, kBatch, arguments.rounds, rows);
  // What of a process's time does not fall with its examples.
  if (processes == 1) measure_operations("half", kExamples / 2, kBatch / 2, arguments.rounds, rows);
  measure_operations("weak", kExamples * processes, kBatch * processes, arguments.rounds, rows);
  measure_messages(arguments.rounds, rows);
  std::string by = std::to_string(processes) + (processes == 1 ? " process" : " processes");
  for (auto& row : rows) row.problem += ", " + by;
  if (osculant::writes_files())
    bench::write(
        {"scaling",
         "milliseconds of the slowest process, by bytes for messages; counts of messages, and bytes", rows},
        arguments.out);
  osculant::end_processes();
}
