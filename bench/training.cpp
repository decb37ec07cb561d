// Methods that see a layer's matrix as one: iterations and processor seconds to test accuracies of .88 and
// .89 on Fashion-MNIST (784-256-128-10, relu, batch 256, float32, one thread, inputs / 255). Evaluations,
// every ten iterations, are not counted. A round is a seed of initialisation and order. bench/peers/
// matrix_methods.py does the same with torch.optim.Muon and pytorch_optimizer's SOAP at the same options.

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <map>
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

constexpr double kSeconds = 40;
constexpr int64_t kEvery = 10;
const std::vector<double> kAccuracies{0.88, 0.89};

double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

struct Reached {
  double steps = INFINITY, seconds = INFINITY;
};

class FashionMlp {
 public:
  // When a test accuracy was first seen; infinity where it was not in kSeconds.
  std::vector<Reached> train(const osculant::Method& method, uint64_t seed) const {
    using namespace osculant;
    Model model = mlp(
        {.widths = {784, 256, 128, 10}, .activation = Activation::relu, .initialization = {.seed = seed}});
    Objective objective(model, CrossEntropy(), train_.batches(256));
    Stepper stepper(objective, method, {.seed = seed});
    std::vector<Reached> reached(kAccuracies.size());
    double spent = 0;
    while (spent < kSeconds && std::isinf(reached.back().steps)) {
      double start = processor_seconds();
      for (int64_t i = 0; i < kEvery; ++i) stepper.step();
      spent += processor_seconds() - start;
      double accuracy = accuracy_of(model);
      for (size_t i = 0; i < kAccuracies.size(); ++i)
        if (accuracy >= kAccuracies[i] && std::isinf(reached[i].steps))
          reached[i] = {static_cast<double>(stepper.steps()), spent};
    }
    return reached;
  }

 private:
  double accuracy_of(const osculant::Model& model) const {
    torch::NoGradGuard no_grad;
    const auto& all = test_.examples();
    return model.forward(all)[0].argmax(1).eq(all.targets[0].tensor).to(at::kDouble).mean().item<double>();
  }

  osculant::Dataset train_ = osculant::fashion_mnist(osculant::Split::train).scaled(255).flattened();
  osculant::Dataset test_ = osculant::fashion_mnist(osculant::Split::test).scaled(255).flattened();
};

std::vector<std::pair<std::string, osculant::Method>> contestants() {
  namespace methods = osculant::methods;
  return {{"muon", methods::muon({.learning_rate = 0.02,
                                  .weight_decay = 0.1,
                                  .adam_learning_rate = 1e-3,
                                  .adam_beta2 = 0.999,
                                  .adam_epsilon = 1e-8,
                                  .adam_weight_decay = 0.01})},
          {"soap", methods::soap({.learning_rate = 3e-3})},
          {"adam", methods::adam({.learning_rate = 1e-3})},
          {"shampoo", methods::shampoo({.learning_rate = 1e-3})},
          {"sophia", methods::sophia({.learning_rate = 1e-3})},
          {"adahessian", methods::adahessian({.learning_rate = 0.15})}};
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 3);
  at::set_num_threads(1);
  FashionMlp problem;
  std::vector<bench::Row> rows;
  for (const auto& [name, method] : contestants()) {
    std::vector<std::vector<double>> steps(kAccuracies.size()), seconds(kAccuracies.size());
    for (int64_t seed = 0; seed < arguments.rounds; ++seed) {
      auto reached = problem.train(method, static_cast<uint64_t>(seed));
      for (size_t i = 0; i < kAccuracies.size(); ++i) {
        steps[i].push_back(reached[i].steps);
        seconds[i].push_back(reached[i].seconds);
        std::cerr << name << " seed " << seed << " to " << kAccuracies[i] << ": " << reached[i].steps
                  << " iterations, " << reached[i].seconds << " s\n";
      }
    }
    for (size_t i = 0; i < kAccuracies.size(); ++i) {
      std::string to = "to ." + std::to_string(std::lround(100 * kAccuracies[i]));
      rows.push_back(bench::row_of({.problem = name, .name = to + ", iterations"}, steps[i]));
      rows.push_back(bench::row_of({.problem = name, .name = to + ", CPU seconds"}, seconds[i]));
    }
  }
  bench::write({"matrix_methods", "what the row says, a round a seed", rows}, arguments.out);
}
