// Networks trained on Fashion-MNIST: iterations and processor seconds to a target, float32, one thread.
//
//   T1   784-256-128-10, relu; test accuracy
//   T2   196-100-50-20-6 and back, sigmoid, on 5,000 images of 14 x 14; squared error, summed over pixels
//   T3t  784-(30 x 100 tanh, Xavier)-10, on 10,000 images; training loss
//
// Evaluations, every ten iterations, are not counted; with `averaging` they are of the average of the
// iterates. A round is a seed of initialisation and order. bench/peers/training.py does the same with other
// projects' methods, and bench/run_benchmark.sh takes a seed of both in turn.

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <ctime>
#include <functional>
#include <iostream>
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
using osculant::Dataset;
using osculant::Model;
using osculant::Objective;
using osculant::Split;

namespace {

constexpr int64_t kEvery = 10;

double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

struct Contestant {
  std::string name, method;
  osculant::OptionMap options;
  int64_t batch_size;
  double averaging = 0;
};

struct Target {
  std::string name;
  double value;
};

struct Reached {
  double steps = INFINITY, seconds = INFINITY;
};

struct Problem {
  std::string name, what;
  Dataset data;
  std::function<Model(uint64_t seed)> network;
  std::function<Objective(const Model&, const Dataset&)> objective;
  std::function<double(const Model&)> measure;  // falls
  std::vector<Target> targets;
  double seconds;
  std::vector<Contestant> contestants;

  // When the targets were first seen; infinity where one was not in `seconds`.
  std::vector<Reached> train(const Contestant& contestant, uint64_t seed) const {
    Model model = network(seed);
    osculant::Stepper stepper(
        objective(model, data), osculant::make_method(contestant.method, contestant.options),
        {.batch_size = contestant.batch_size, .seed = seed, .averaging = contestant.averaging});
    std::vector<Reached> reached(targets.size());
    double spent = 0;
    while (spent < seconds && std::isinf(reached.back().steps)) {
      double start = processor_seconds();
      for (int64_t i = 0; i < kEvery; ++i) stepper.step();
      spent += processor_seconds() - start;
      osculant::AtAverage average(stepper);
      torch::NoGradGuard no_grad;
      double value = measure(model);
      for (size_t i = 0; i < targets.size(); ++i)
        if (value <= targets[i].value && std::isinf(reached[i].steps))
          reached[i] = {static_cast<double>(stepper.steps()), spent};
    }
    return reached;
  }
};

Problem accuracy_problem() {
  auto test = osculant::fashion_mnist(Split::test).scaled(255).flattened();
  osculant::OptionMap muon = {{"learning_rate", 0.02},
                              {"adam_learning_rate", 1e-3},
                              {"adam_beta2", 0.999},
                              {"adam_epsilon", 1e-8}},
                      decaying = muon;
  decaying["weight_decay"] = 0.1;  // torch.optim.Muon's and AdamW's own
  decaying["adam_weight_decay"] = 0.01;
  return {.name = "T1",
          .what = "test accuracy",
          .data = osculant::fashion_mnist(Split::train).scaled(255).flattened(),
          .network =
              [](uint64_t seed) {
                return osculant::mlp({.widths = {784, 256, 128, 10},
                                      .activation = osculant::Activation::relu,
                                      .initialization = {.seed = seed}});
              },
          .objective =
              [](const Model& model, const Dataset& data) {
                return Objective(model, osculant::CrossEntropy(), data.full());
              },
          .measure =
              [test](const Model& model) {
                const auto& all = test.examples();
                auto right = model.forward(all)[0].argmax(1).eq(all.targets[0].tensor);
                return 1 - right.to(at::kDouble).mean().item<double>();
              },
          .targets = {{".88", 0.12}, {".89", 0.11}},
          .seconds = 40,
          .contestants = {{"muon", "muon", decaying, 256},
                          {"muon, averaged", "muon", muon, 256, 0.98},
                          {"soap", "soap", {{"learning_rate", 3e-3}}, 256},
                          {"adam", "adam", {{"learning_rate", 1e-3}}, 256},
                          {"shampoo", "shampoo", {{"learning_rate", 1e-3}}, 256},
                          {"sophia", "sophia", {{"learning_rate", 1e-3}}, 256},
                          {"adahessian", "adahessian", {{"learning_rate", 0.15}}, 256},
                          {"kfac", "kfac", {}, 256},
                          {"ekfac", "ekfac", {}, 256}}};
}

Problem autoencoder_problem() {
  auto data = osculant::fashion_mnist(Split::train)
                  .take(5000)
                  .scaled(255)
                  .average_pooled(2)
                  .flattened()
                  .autoencoding();
  return {.name = "T2",
          .what = "squared error",
          .data = data,
          .network = [](uint64_t seed) { return osculant::autoencoder({.initialization = {.seed = seed}}); },
          .objective =
              [](const Model& model, const Dataset& data) {
                return Objective(model,
                                 osculant::BinaryCrossEntropy({.outputs = osculant::OutputReduction::sum}),
                                 data.full());
              },
          .measure =
              [data](const Model& model) {
                const auto& all = data.examples();
                at::Tensor difference = at::sigmoid(model.forward(all)[0]) - all.targets[0].tensor;
                return difference.square().sum().item<double>() / static_cast<double>(data.size());
              },
          .targets = {{"1.5", 1.5}, {"1.35", 1.35}, {"1.25", 1.25}},
          .seconds = 60,
          .contestants = {{"soap", "soap", {{"learning_rate", 1e-2}}, 200},
                          {"soap, 2e-2, batch 500", "soap", {{"learning_rate", 2e-2}}, 500},
                          {"soap, 2e-2, batch 500, averaged", "soap", {{"learning_rate", 2e-2}}, 500, 0.98},
                          {"adam", "adam", {{"learning_rate", 1e-2}}, 200},
                          {"kfac", "kfac", {}, 1000},
                          {"ekfac", "ekfac", {}, 1000}}};
}

Problem deep_tanh_problem() {
  auto data = osculant::fashion_mnist(Split::train).take(10000).scaled(255).flattened();
  return {.name = "T3t",
          .what = "training loss",
          .data = data,
          .network =
              [](uint64_t seed) {
                std::vector<int64_t> widths(32, 100);
                widths.front() = 784;
                widths.back() = 10;
                return osculant::mlp(
                    {.widths = widths,
                     .activation = osculant::Activation::tanh,
                     .initialization = {.kind = osculant::Initialization::xavier, .seed = seed}});
              },
          .objective =
              [](const Model& model, const Dataset& data) {
                return Objective(model, osculant::CrossEntropy(), data.full());
              },
          .measure =
              [data](const Model& model) {
                const auto& all = data.examples();
                return at::cross_entropy_loss(model.forward(all)[0], all.targets[0].tensor).item<double>();
              },
          .targets = {{".5", 0.5}, {".2", 0.2}, {".1", 0.1}},
          .seconds = 30,
          .contestants = {{"soap", "soap", {{"learning_rate", 3e-3}}, 256},
                          {"soap, 2e-3, batch 512", "soap", {{"learning_rate", 2e-3}}, 512},
                          {"soap, 2e-3, batch 512, averaged", "soap", {{"learning_rate", 2e-3}}, 512, 0.9},
                          {"muon", "muon", {{"learning_rate", 5e-3}}, 256},
                          {"adam", "adam", {{"learning_rate", 1e-3}}, 256},
                          {"kfac", "kfac", {}, 256},
                          {"ekfac", "ekfac", {}, 256}}};
}

void add_rows(const Problem& problem, const Contestant& contestant, const bench::Arguments& arguments,
              std::vector<bench::Row>& rows) {
  std::vector<std::vector<double>> steps(problem.targets.size()), seconds(problem.targets.size());
  for (int64_t seed = arguments.first; seed < arguments.first + arguments.rounds; ++seed) {
    auto reached = problem.train(contestant, static_cast<uint64_t>(seed));
    for (size_t i = 0; i < reached.size(); ++i) {
      steps[i].push_back(reached[i].steps);
      seconds[i].push_back(reached[i].seconds);
      std::cerr << fmt::format("{}, {}, seed {}, to {}: {} iterations, {:.2f} s\n", problem.name,
                               contestant.name, seed, problem.targets[i].name, reached[i].steps,
                               reached[i].seconds);
    }
  }
  for (size_t i = 0; i < problem.targets.size(); ++i) {
    std::string name = problem.name + ", " + contestant.name,
                work = problem.what + " " + problem.targets[i].name;
    rows.push_back(bench::row_of({.problem = name, .name = work + ", iterations"}, steps[i]));
    rows.push_back(bench::row_of({.problem = name, .name = work + ", CPU seconds"}, seconds[i]));
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 3);
  at::set_num_threads(1);
  std::vector<bench::Row> rows;
  for (const auto& problem : {accuracy_problem(), autoencoder_problem(), deep_tanh_problem()})
    for (const auto& contestant : problem.contestants)
      if (arguments.wants(problem.name + ":" + contestant.name))
        add_rows(problem, contestant, arguments, rows);
  bench::write({"training", "what the row says, a round a seed", rows}, arguments.out);
}
