// The deep autoencoder of docs/inverse-correction.md, float32, one thread: what Adam, at the best of three
// learning rates, has after 40 seconds of processor time, and what inverse_correction with Adam on the
// complement, given no learning rate, has after 40 % of Adam's iterations at the same batch size. A round is
// a seed.

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <string>
#include <vector>

#include "bench/benchmark.h"
#include "osculant/data/dataset.h"
#include "osculant/data/fashion_mnist.h"
#include "osculant/model/output_loss.h"
#include "osculant/model/zoo.h"
#include "osculant/objective/objective.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"

namespace bench = osculant::bench;

namespace {

constexpr double kSeconds = 40, kShare = 0.4;

double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

struct Run {
  int64_t steps;
  double seconds, error;
};

// 196-100-50-20-6 and back, sigmoid, torch's default initialisation, on 5,000 images of 14 x 14.
class Autoencoder {
 public:
  // For so many steps or seconds, whichever ends first.
  Run train(const osculant::Method& method, int64_t batch_size, uint64_t seed, int64_t steps,
            double seconds) const {
    using namespace osculant;
    Model model = autoencoder({.initialization = {.seed = seed}});
    Objective objective(model, BinaryCrossEntropy({.outputs = OutputReduction::sum}), data_.full());
    Stepper stepper(objective, method, {.batch_size = batch_size, .seed = seed});
    double start = processor_seconds(), spent = 0;
    while (stepper.steps() < steps && spent < seconds) {
      stepper.step();
      spent = processor_seconds() - start;
    }
    return {stepper.steps(), spent, squared_error(model)};
  }

 private:
  // Summed over pixels, mean over images.
  double squared_error(const osculant::Model& model) const {
    torch::NoGradGuard no_grad;
    const auto& all = data_.examples();
    at::Tensor difference = at::sigmoid(model.forward(all)[0]) - all.targets[0].tensor;
    return difference.square().sum().item<double>() / static_cast<double>(data_.size());
  }

  osculant::Dataset data_ = osculant::fashion_mnist(osculant::Split::train)
                                .take(5000)
                                .scaled(255)
                                .average_pooled(2)
                                .flattened()
                                .autoencoding();
};

void compare(const Autoencoder& problem, int64_t batch_size, int64_t rounds, std::vector<bench::Row>& rows) {
  namespace methods = osculant::methods;
  std::vector<double> steps, error, corrected, seconds, ratio;
  for (int64_t seed = 0; seed < rounds; ++seed) {
    auto stream = static_cast<uint64_t>(seed);
    Run best{0, 0, INFINITY};
    for (double rate : {3e-3, 1e-2, 2e-2}) {
      auto run =
          problem.train(methods::adam({.learning_rate = rate}), batch_size, stream, INT64_MAX, kSeconds);
      if (run.error < best.error) best = run;
    }
    auto run =
        problem.train(methods::inverse_correction({.complement = osculant::Complement::adam}), batch_size,
                      stream, std::llround(kShare * static_cast<double>(best.steps)), INFINITY);
    steps.push_back(static_cast<double>(best.steps));
    error.push_back(best.error);
    corrected.push_back(run.error);
    seconds.push_back(run.seconds);
    ratio.push_back(run.error / best.error);
  }
  std::string name = "batch " + std::to_string(batch_size);
  rows.push_back(bench::row_of({.problem = name, .name = "Adam, iterations in 40 s"}, steps));
  rows.push_back(bench::row_of({.problem = name, .name = "Adam, error then"}, error));
  rows.push_back(
      bench::row_of({.problem = name, .name = "inverse_correction, error after 40 % of them"}, corrected));
  rows.push_back(bench::row_of({.problem = name, .name = "the same over Adam's", .bar = 1}, ratio));
  rows.push_back(bench::row_of({.problem = name, .name = "inverse_correction, seconds it took"}, seconds));
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 3);
  at::set_num_threads(1);
  Autoencoder problem;
  std::vector<bench::Row> rows;
  for (int64_t batch_size : {1000, 200}) compare(problem, batch_size, arguments.rounds, rows);
  bench::write({"autoencoder", "what the row says, a round a seed", rows}, arguments.out);
}
