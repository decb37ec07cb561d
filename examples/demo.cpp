// What `./run demo` shows, on Fashion-MNIST in about two minutes: a deep network that nothing trains, why,
// what mends it, the curvature of what was trained, each number with its bound, and a page to keep.
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "osculant/base/text.h"
#include "osculant/osculant.h"
#include "osculant/report/page.h"
#include "osculant/study/analysis.h"
#include "osculant/study/result_directory.h"

namespace {

using namespace osculant;

// A line that is written over on a terminal and left out elsewhere.
void show_progress(const std::string& line) {
  if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r\033[K%s", line.c_str());
}

// Words in lines that a terminal holds.
std::string wrapped(const std::string& words, size_t width = 110) {
  std::string out;
  size_t column = 0;
  for (size_t begin = 0; begin < words.size();) {
    size_t end = std::min(words.find(' ', begin), words.size());
    if (column > 0 && column + 1 + end - begin > width) {
      out += '\n';
      column = 0;
    }
    if (column > 0) out += ' ';
    out += words.substr(begin, end - begin);
    column += (column > 0) + end - begin;
    begin = end + 1;
  }
  return out;
}

constexpr const char* kDeepNetwork = R"(
[model]
kind = "mlp"
widths = [784, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100,
          100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 10]
activation = "sigmoid"
[data]
kind = "fashion_mnist"
take = 10000
normalize = true
[loss]
kind = "cross_entropy"
[analyze]
eigenvalues = 5
gradient_flow = true
[run]
out = "runs/demo"
)";

constexpr int64_t kBatch = 256;
constexpr double kSeconds = 10;
const std::vector<double> kMarks{1, 2, 5, 10};

// The training loss, at the marks.
class Curve : public Observer {
 public:
  void on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) override {
    for (double mark : kMarks)
      if (evaluation.seconds <= mark) at_[mark] = evaluation.loss;
    show_progress(minimizer.stepper().method_name() + ": " + format_seconds(evaluation.seconds) + " of " +
                  format_seconds(kSeconds) + ", loss " + format_number(evaluation.loss));
  }
  std::string at(double mark) const {
    auto found = at_.find(mark);
    return found == at_.end() ? "-" : format_number(found->second);
  }

 private:
  std::map<double, double> at_;
};

// From the parameters as they are, which are left as they were trained.
std::vector<std::string> race_row(const Problem& problem, const std::string& words, const Method& method) {
  auto curve = std::make_shared<Curve>();
  Summary summary = minimize(problem.objective(kBatch), method,
                             {.budget = seconds(kSeconds), .evaluate_every = 20, .observers = {curve}});
  show_progress("");
  std::vector<std::string> row{words};
  for (double mark : kMarks) row.push_back(curve->at(mark));
  row.push_back(format_count(summary.steps));
  return row;
}

TextTable race_table() {
  std::vector<std::string> header{"training loss after"};
  for (double mark : kMarks) header.push_back(format_number(mark) + " s");
  header.push_back("steps");
  return TextTable(header);
}

void train_in_vain(const Problem& problem) {
  std::printf(
      "1. Twenty layers of 100 sigmoids, 784-(20 x 100)-10, 10,000 images, torch's default "
      "initialisation\n\n");
  ParameterSnapshot start = problem.model.layout().snapshot();
  TextTable table = race_table();
  for (const auto& [words, method] : {std::pair{"Adam, rate 0.001", methods::adam()},
                                      {"momentum, rate 0.1", methods::momentum({.learning_rate = 0.1})}}) {
    table.add(race_row(problem, words, method));
    problem.model.layout().restore(start);
  }
  std::printf("%s\nChance is ln 10 = 2.303: neither learns anything.\n", table.str().c_str());
}

void say_why(const Problem& problem) {
  std::printf("\n2. Why: how signals get through the layers, and gradients back\n\n");
  PlainStack stack = plain_stack(problem.model, problem.train.range(0, 64));
  StackInitialization now = stack.variances();
  SignalPropagation theory = signal_propagation(nonlinearity(stack.activation()), now);
  std::printf("%s\n\n", wrapped(gradient_flow(problem.objective(1024), {.batches = 1}).words).c_str());
  std::printf(
      "Theory agrees: wide sigmoid layers at s_w^2 = %.3f, s_b^2 = %.4f multiply the squared gradient "
      "by\nchi "
      "= %.4f each (%s).\n",
      now.weight_variance, now.bias_variance, theory.chi, std::string(name_of(theory.phase)).c_str());
}

// Leaves the network as the last method trained it.
void mend(const Problem& problem) {
  std::printf("\n3. Mended: the critical initialisation, and the same Adam\n\n");
  Tensor critical =
      critical_parameters(problem.model, plain_stack(problem.model, problem.train.range(0, 64)), /*seed=*/0);
  problem.model.layout().assign(critical);
  std::printf("%s\n\n", wrapped(gradient_flow(problem.objective(1024), {.batches = 1}).words).c_str());
  TextTable table = race_table();
  for (const auto& [words, method] : {std::pair{"Adam, rate 0.001", methods::adam()},
                                      {"Shampoo, rate 0.001", methods::shampoo()},
                                      {"Muon, rate 0.02", methods::muon()}}) {
    problem.model.layout().assign(critical);
    table.add(race_row(problem, words, method));
  }
  std::printf("%s\nOne run each: how far another seed or machine shifts it is unknown.\n",
              table.str().c_str());
}

void look_at_curvature(const Problem& problem, RunConfig& config) {
  std::printf("\n4. The curvature where it has come to\n\n");
  std::printf("%s\n\n", wrapped("Plan: " + to_text(plan_analysis(problem, config))).c_str());
  ResultDirectory folder(config.run.out, Existing::overwrite);
  folder.write("run.toml", config.to_toml());
  Result result = analyze(problem, config, folder, /*resume=*/false, show_progress);
  show_progress("");
  folder.write("result.json", to_json(result));
  write_report(folder.path());
  for (const auto& [matrix, spectrum] : result.spectrum) std::printf("%s", to_text(matrix, spectrum).c_str());
}

void fit_a_curve() {
  std::printf(
      "\n5. A curve fitted closely: sin(10x)/(10x), 2,000 points, 1-20-1 tanh, float64, loss <= 1e-6\n\n");
  Dataset data = synthetic::sinc(2000, /*seed=*/0, torch::kFloat64);
  TextTable table({"", "reached", "seconds", "steps", "loss at the end"});
  for (const auto& [words, method] : {std::pair{"Adam, rate 0.01", methods::adam({.learning_rate = 1e-2})},
                                      {"L-BFGS", methods::lbfgs()},
                                      {"Levenberg-Marquardt", methods::levenberg_marquardt()}}) {
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
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // each line at once, to pipes and files as well
  try {
    RunConfig config;
    config.read_text(kDeepNetwork, "demo");
    Problem problem = load_problem(config);
    train_in_vain(problem);
    say_why(problem);
    mend(problem);
    look_at_curvature(problem, config);
    fit_a_curve();
    std::printf("\nThe page: %s/report.html. Your own network next: osculant advise --help\n",
                config.run.out.c_str());
  } catch (const Error& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 1;
  }
}
