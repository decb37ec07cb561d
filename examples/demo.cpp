// What `./run demo` shows, on Fashion-MNIST in about three minutes: the curvature of a classifier, each
// number with its bound, and a deep autoencoder trained by Adam and with curvature on equal time.
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "osculant/base/text.h"
#include "osculant/osculant.h"
#include "osculant/study/analysis.h"

namespace {

using namespace osculant;

// A line that is written over on a terminal and left out elsewhere.
void show_progress(const std::string& line) {
  if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r\033[K%s", line.c_str());
}

// ---- a classifier, looked at ----

constexpr const char* kClassifier = R"(
[model]
kind = "mlp"
widths = [784, 128, 64, 10]
activation = "relu"
[data]
kind = "fashion_mnist"
scale = 255.0
take = 5000
[loss]
kind = "cross_entropy"
[analyze]
eigenvalues = 5
)";

void look_at_a_classifier() {
  std::printf(
      "1. The curvature of a classifier: 784-128-64-10, ReLU, 5,000 images, after two epochs of Adam\n\n");
  RunConfig config;
  config.read_text(kClassifier, "demo");
  Problem problem = load_problem(config);
  minimize(problem.objective(256), methods::adam({.learning_rate = 1e-3}), {.epochs = 2});
  auto plan = plan_analysis(problem, config);
  std::printf("Plan: %s\n\n", to_text(plan).c_str());
  Result result = analyze(problem, config, show_progress);
  show_progress("");
  std::printf("%s\n", to_text(result).c_str());
}

// ---- an autoencoder, trained ----

constexpr double kSeconds = 30;
const std::vector<double> kMarks{2, 5, 10, 20, 30};

Dataset small_images() {
  return fashion_mnist(Split::train).take(5000).scaled(255).average_pooled(2).flattened().autoencoding();
}

// Weights of variance 16 / fan_in: the slope of a sigmoid at 0 is 1/4, so signals keep their size through it
// (Glorot & Bengio 2010 scale by 4 for the same reason). With torch's default initialisation the signal dies
// in eight layers, and the first seconds of every method are spent on a plateau.
Model deep_autoencoder() {
  AutoencoderOptions options;
  options.initialization = {.kind = Initialization::scaled, .weight_variance = 16, .seed = 0};
  return autoencoder(options);
}

// Squared error a training image, at the marks.
class Curve : public Observer {
 public:
  void on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) override {
    double error = evaluation.metrics.back().value;
    for (double mark : kMarks)
      if (evaluation.seconds <= mark) at_[mark] = error;
    show_progress(minimizer.stepper().method_name() + ": " + format_seconds(evaluation.seconds) + " of " +
                  format_seconds(kSeconds) + ", squared error " + format_number(error));
  }
  std::string at(double mark) const {
    auto found = at_.find(mark);
    return found == at_.end() ? "-" : format_number(found->second);
  }

 private:
  std::map<double, double> at_;
};

struct Contestant {
  std::string words;
  Method method;
  int64_t batch_size;
};

Summary train(const Contestant& contestant, const std::shared_ptr<Curve>& curve) {
  Dataset data = small_images();
  Model model = deep_autoencoder();
  Objective objective(model, BinaryCrossEntropy({.outputs = OutputReduction::sum}), data.batches(1000));
  auto squared_error = [&]() -> std::vector<Metric> {
    torch::NoGradGuard no_grad;
    auto x = data.examples().inputs[0].tensor;
    auto difference = model.forward(Model::Inputs{x})[0].sigmoid() - x;
    return {{"squared_error", difference.square().sum(1).mean().item<double>()}};
  };
  MinimizeOptions options{.budget = seconds(kSeconds), .batch_size = contestant.batch_size};
  options.metrics = squared_error;
  options.observers = {curve};
  return minimize(objective, contestant.method, options);
}

void train_an_autoencoder() {
  std::printf("2. A deep autoencoder, 196-100-50-20-6 and back, sigmoid, 5,000 images of 14 x 14\n");
  std::printf("   %.0f s of training each, from the same start\n\n", kSeconds);
  std::vector<Contestant> contestants{
      {"Adam, rate 0.001", methods::adam({.learning_rate = 1e-3}), 200},
      {"Adam, rate 0.01", methods::adam({.learning_rate = 1e-2}), 200},
      {"Hessian-free, no rate", methods::hessian_free({.damping = {.initial = 10}, .cg_iterations = 60}),
       500},
  };
  std::vector<std::string> header{"squared error an image after"};
  for (double mark : kMarks) header.push_back(format_number(mark) + " s");
  header.insert(header.end(), {"steps", "gradients' worth"});
  TextTable table(header);
  std::vector<double> final_error;
  for (const auto& contestant : contestants) {
    auto curve = std::make_shared<Curve>();
    Summary summary = train(contestant, curve);
    std::vector<std::string> row{contestant.words};
    for (double mark : kMarks) row.push_back(curve->at(mark));
    row.push_back(format_count(summary.steps));
    row.push_back(format_number(summary.gradient_equivalents));
    table.add(row);
    final_error.push_back(summary.final_metrics.back().value);
  }
  show_progress("");
  std::printf("%s\n", table.str().c_str());
  auto best = std::min_element(final_error.begin(), final_error.end()) - final_error.begin();
  std::printf("Lowest at the end: %s. One run each: how far another seed or machine shifts it is unknown.\n",
              contestants[static_cast<size_t>(best)].words.c_str());
}

// ---- a small fit, trained to the end ----

void fit_a_curve() {
  std::printf(
      "\n3. A curve fitted closely: sin(10x)/(10x), 2,000 points, 1-20-1 tanh, float64, loss <= 1e-6\n\n");
  Dataset data = synthetic::sinc(2000, /*seed=*/0, torch::kFloat64);
  std::vector<std::pair<std::string, Method>> contestants{
      {"Adam, rate 0.01", methods::adam({.learning_rate = 1e-2})},
      {"L-BFGS", methods::lbfgs()},
      {"Hessian-free", methods::hessian_free()},
      {"Levenberg-Marquardt", methods::levenberg_marquardt()},
  };
  TextTable table({"", "reached", "seconds", "steps", "loss at the end"});
  for (const auto& [words, method] : contestants) {
    Model model = mlp({.widths = {1, 20, 1}, .activation = Activation::tanh, .dtype = torch::kFloat64});
    Objective objective(model, MeanSquaredError(), data.full());
    Summary summary = minimize(objective, method, {.budget = seconds(10), .target = "loss<=1e-6"});
    table.add({words, *summary.reached ? "yes" : "no", format_number(summary.seconds),
               format_count(summary.steps), format_number(summary.final_loss)});
  }
  std::printf("%s\n", table.str().c_str());
  std::printf(
      "Where a model can fit its data, steps that know the curvature close in while Adam circles the "
      "bottom.\n");
}

}  // namespace

int main() {
  try {
    look_at_a_classifier();
    train_an_autoencoder();
    fit_a_curve();
  } catch (const Error& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 1;
  }
}
