// What penalties on gradient and curvature change in a real network: Fashion-MNIST as 14 x 14, 5,000 training
// images in batches of 100, 196-32-10 with relu, cross entropy, 40 epochs of Adam at 3e-3. Test accuracy,
// then the Hessian and the gradient of the training loss on 1,000 of its images, penalties left out. A round
// is a seed of initialisation and order. The table of docs/regularizers-measured.md.

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "bench/benchmark.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/regularizers.h"
#include "osculant/data/fashion_mnist.h"
#include "osculant/model/zoo.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/rank.h"
#include "osculant/spectrum/sparsity.h"
#include "osculant/spectrum/trace.h"
#include "osculant/tensor/layer_blocks.h"

namespace bench = osculant::bench;
using namespace osculant;

namespace {

constexpr int64_t kSteps = 2000, kBatch = 100, kTrain = 5000, kMeasured = 1000, kClasses = 10;

const std::vector<std::string> kQuantities{"test accuracy", "test loss", "training loss",  "max abs l",
                                           "trace",         "rank 1 %",  "effective rank", "tail H",
                                           "tail H %",      "sparse %",  "tail dW %",      "ge an epoch"};

struct Contender {
  std::string name;
  std::vector<std::shared_ptr<const Regularizer>> penalties = {};
  double sharpness_radius = 0;
  int64_t steps = kSteps;
};

double loss_on(const Model& model, const Dataset& data) {
  return Objective(model, CrossEntropy(), data.full()).value();
}

double accuracy_on(const Model& model, const Dataset& data) {
  torch::NoGradGuard no_grad;
  const auto& all = data.examples();
  return model.forward(all)[0].argmax(1).eq(all.targets[0].tensor).to(at::kDouble).mean().item<double>();
}

// Share of the first weight's gradient beyond its largest singular value, of its squared norm.
double gradient_tail(const Objective& objective, const Tensor& gradient) {
  const auto& weight = objective.layout().parameters().front();
  Tensor matrix = gradient.narrow(0, weight.offset, weight.size).view(weight.shape).to(at::kDouble);
  Tensor squares = at::linalg_svdvals(matrix).square();
  return 1 - (squares[0] / squares.sum()).item<double>();
}

class Problem {
 public:
  // The quantities, in their order.
  std::vector<double> train(const Contender& contender, uint64_t seed) const {
    Model model = mlp({.widths = {196, 32, 10}, .initialization = {.seed = seed}});
    Objective objective(model, CrossEntropy(), train_.batches(kBatch));
    Stepper stepper(objective.with_regularizers(contender.penalties), methods::adam({.learning_rate = 3e-3}),
                    {.seed = seed, .sharpness_radius = contender.sharpness_radius});
    double before = objective.ledger().gradient_equivalents();
    while (stepper.steps() < contender.steps) stepper.step();
    double epochs = static_cast<double>(contender.steps * kBatch) / kTrain;
    double cost = epochs > 0 ? (objective.ledger().gradient_equivalents() - before) / epochs : 0;

    Objective measured(model, CrossEntropy(), measured_.full());
    Hessian H(measured);
    auto pairs = eigenpairs(H, {.count = kClasses - 1, .target = EigenTarget::dominant});
    auto ranks = rank(H, {.threshold = 0.01}, &pairs);
    double leading = pairs.values.square().sum().item<double>(), whole = std::pow(ranks.frobenius.value, 2);
    auto entries = sparsity(H, layer_blocks(measured.layout()), {.threshold = 0.01}, &pairs);
    return {accuracy_on(model, test_),
            loss_on(model, test_),
            loss_on(model, train_),
            ranks.spectral.value,
            trace(H).value,
            ranks.numerical.value,
            ranks.effective.value,
            std::sqrt(std::max(whole - leading, 0.0)),
            100 * std::max(1 - leading / whole, 0.0),
            100 * entries.negligible.value,
            100 * gradient_tail(measured, measured.value_and_gradient().second),
            cost};
  }

 private:
  static Dataset small_images(Split split) {
    return fashion_mnist(split).scaled(255).average_pooled(2).flattened();
  }
  Dataset train_ = small_images(Split::train).take(kTrain);
  Dataset measured_ = train_.take(kMeasured);
  Dataset test_ = small_images(Split::test);
};

// Two strengths each, one of them the 0.01 of the article where that does neither nothing nor all.
std::vector<Contender> contenders() {
  using namespace regularizers;
  auto G = PenaltyMatrix::gauss_newton;
  std::vector<Contender> all{{.name = "before training", .steps = 0}, {.name = "no penalty"}};
  auto add = [&](const std::string& name, const std::vector<double>& strengths,
                 const std::function<RegularizerPtr(double)>& make) {
    for (double strength : strengths)
      all.push_back({.name = "`" + name + "` " + fmt::format("{}", strength), .penalties = {make(strength)}});
  };
  add("gradient_norm", {0.01, 0.1}, [](double s) { return gradient_norm({.strength = s}); });
  add("squared_gradient_norm", {0.01, 0.1}, [](double s) { return squared_gradient_norm({.strength = s}); });
  add("gradient_low_rank", {0.01, 1}, [](double s) { return gradient_low_rank({.strength = s, .rank = 1}); });
  add("tail_energy", {0.001, 0.01},
      [](double s) { return tail_energy({.strength = s, .rank = kClasses - 1}); });
  add("spectral", {0.001, 0.01}, [](double s) { return spectral({.strength = s}); });
  add("trace", {0.001, 0.01}, [G](double s) { return trace({.strength = s, .matrix = G}); });
  add("frobenius", {0.0001, 0.001}, [](double s) { return frobenius({.strength = s}); });
  add("column_sparsity", {10, 100}, [](double s) { return column_sparsity({.strength = s}); });
  for (double radius : {0.01, 0.05})
    all.push_back({.name = "`sharpness_radius` " + fmt::format("{}", radius), .sharpness_radius = radius});
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 3);
  at::set_num_threads(1);
  Problem problem;
  std::vector<bench::Row> rows;
  for (const auto& contender : contenders()) {
    std::vector<std::vector<double>> of_quantity(kQuantities.size());
    for (int64_t seed = 0; seed < arguments.rounds; ++seed) {
      auto values = problem.train(contender, static_cast<uint64_t>(seed));
      std::cerr << contender.name << ", seed " << seed;
      for (size_t q = 0; q < values.size(); ++q) {
        of_quantity[q].push_back(values[q]);
        std::cerr << ", " << kQuantities[q] << " " << values[q];
      }
      std::cerr << "\n";
    }
    for (size_t q = 0; q < kQuantities.size(); ++q)
      rows.push_back(bench::row_of({.problem = contender.name, .name = kQuantities[q]}, of_quantity[q]));
  }
  bench::write({.benchmark = "regularizers", .unit = "what the column says", .rows = rows, .wide = true},
               arguments.out);
}
