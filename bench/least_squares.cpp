// Levenberg-Marquardt on small fits, float64, one thread: steps to a target over 30 seeds, and the time that
// a larger fit takes. Times are those of the whole of minimize(), in milliseconds of the processor, beside
// those of peers on the same fit (bench/peers/least_squares.py).

#include <torch/nn.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <memory>
#include <numbers>
#include <vector>

#include "bench/benchmark.h"
#include "osculant/data/dataset.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/objective.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"

namespace bench = osculant::bench;
using at::Tensor;

namespace {

constexpr int64_t kSeeds = 30;

// tanh between linear layers, torch's default initialisation.
torch::nn::Sequential network(const std::vector<int64_t>& widths, uint64_t seed) {
  torch::manual_seed(seed);
  torch::nn::Sequential net;
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    if (i > 0) net->push_back(torch::nn::Tanh());
    net->push_back(torch::nn::Linear(widths[i], widths[i + 1]));
  }
  net->to(torch::kFloat64);
  return net;
}

struct Fit {
  std::vector<int64_t> widths;
  Tensor x, y;
  osculant::Objective objective(uint64_t seed) const {
    return {network(widths, seed), osculant::MeanSquaredError(), osculant::Dataset(x, y).full()};
  }
};

// One period of sine at 41 points.
Fit sine() {
  Tensor x = torch::linspace(-1, 1, 41, torch::kFloat64).unsqueeze(1);
  return {{1, 5, 1}, x, at::sin(std::numbers::pi * x)};
}

// The product of three signs.
Fit parity() {
  Tensor x =
      at::cartesian_prod({at::tensor({-1.0, 1.0}, torch::kFloat64), at::tensor({-1.0, 1.0}, torch::kFloat64),
                          at::tensor({-1.0, 1.0}, torch::kFloat64)});
  return {{3, 10, 10, 1}, x, x.prod(1, true)};
}

// sin(10 x) / (10 x) at 2,000 uniform points.
Fit sinc() {
  torch::manual_seed(1000);
  Tensor x = at::rand({2000, 1}, torch::kFloat64) * 2 - 1;
  return {{1, 20, 1}, x, at::sin(10 * x) / (10 * x)};
}

// When the loss first was at or below each target.
class Crossings : public osculant::Observer {
 public:
  explicit Crossings(std::vector<double> targets)
      : targets_(std::move(targets)), milliseconds(targets_.size(), INFINITY) {}
  void on_step(const osculant::StepRecord& record, const osculant::Minimizer&) override {
    for (size_t i = 0; i < targets_.size(); ++i)
      if (record.loss_after <= targets_[i]) milliseconds[i] = std::min(milliseconds[i], spent());
  }

 private:
  double spent() const { return 1e3 * static_cast<double>(std::clock() - start_) / CLOCKS_PER_SEC; }

  std::vector<double> targets_;
  std::clock_t start_ = std::clock();

 public:
  std::vector<double> milliseconds;
};

void steps_to(const Fit& fit, const std::string& problem, const std::string& target,
              std::vector<bench::Row>& rows) {
  std::vector<double> steps;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    auto summary = osculant::minimize(fit.objective(seed), osculant::methods::levenberg_marquardt(),
                                      {.steps = 500, .target = "loss<=" + target});
    steps.push_back(summary.reached.value_or(false) ? static_cast<double>(summary.steps) : INFINITY);
  }
  rows.push_back(bench::row_of({.problem = problem, .name = "steps to " + target, .bar = 10}, steps));
}

struct Contender {
  std::string name;
  osculant::Method method;
  int64_t steps;
};

void times_to(const Fit& fit, const std::string& problem, const Contender& contender, int64_t rounds,
              std::vector<bench::Row>& rows) {
  const std::vector<std::string> names{"1e-4", "1e-5", "1e-6"};
  std::vector<std::vector<double>> times(names.size());
  std::vector<double> steps;
  for (int64_t seed = 0; seed < rounds; ++seed) {
    auto objective = fit.objective(static_cast<uint64_t>(seed));
    auto crossings = std::make_shared<Crossings>(std::vector{1e-4, 1e-5, 1e-6});
    auto summary =
        osculant::minimize(objective, contender.method,
                           {.steps = contender.steps, .target = "loss<=1e-6", .observers = {crossings}});
    for (size_t i = 0; i < names.size(); ++i) times[i].push_back(crossings->milliseconds[i]);
    steps.push_back(static_cast<double>(summary.steps));
  }
  for (size_t i = 0; i < names.size(); ++i)
    rows.push_back(
        bench::row_of({.problem = problem, .name = contender.name + ", ms to " + names[i]}, times[i]));
  rows.push_back(bench::row_of({.problem = problem, .name = contender.name + ", steps"}, steps));
}

}  // namespace

int main(int argc, char** argv) {
  namespace methods = osculant::methods;
  using osculant::DampingRule;
  auto arguments = bench::parse_arguments(argc, argv, 5);
  at::set_num_threads(1);
  std::vector<bench::Row> rows;
  steps_to(sine(), "1-5-1, sine", "0.002", rows);
  steps_to(parity(), "3-10-10-1, parity", "0.001", rows);
  std::vector<Contender> contenders{
      {"levenberg_marquardt", methods::levenberg_marquardt(), 1000},
      {"the same, no acceleration", methods::levenberg_marquardt({.acceleration = 0}), 1000},
      {"the same, scaling = diagonal",
       methods::levenberg_marquardt({.scaling = osculant::LmScaling::diagonal}), 1000},
      {"the same, delta 1e-9 and halving",
       methods::levenberg_marquardt({.damping = {.rule = DampingRule::fixed, .initial = 1e-9}}), 1000},
      {"the same, delta 0.01 norm(r)",
       methods::levenberg_marquardt(
           {.damping = {.rule = DampingRule::fixed, .initial = 0.01}, .residual_power = 1}),
       1000},
      {"bfgs", methods::bfgs(), 5000},
      {"ssbroyden", methods::ssbroyden(), 5000},
      {"lbfgs", methods::lbfgs(), 5000}};
  for (const auto& contender : contenders)
    times_to(sinc(), "1-20-1, sinc", contender, arguments.rounds, rows);
  bench::write({"least_squares", "what the row says, a round a seed", rows}, arguments.out);
}
