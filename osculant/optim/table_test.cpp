// Every method on every problem: each cell of docs/optimizer-table.md is a statement, and is tested here as
// Table/METHOD.PROBLEM.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/curvature/curvature.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::normal;

// ---- the problems ----

struct Problem {
  std::string name;
  std::function<std::pair<Objective, double>()> make;  // the objective at its start, and its least value
  int64_t steps;                                       // that a method may make
  double reached;  // share of f0 - f* that may be left; 0: unbounded below, nothing can be reached
  double gradient_norm = 1e-9;
};

// A function of x as a network of one example whose outputs are x, so that G is its Hessian.
Objective as_network(const Tensor& start, const std::function<Tensor(const Tensor&)>& f, bool convex) {
  Tensor x = start.clone().requires_grad_();
  Model model({{"x", x}}, [x](const Model::Inputs&) -> Model::Outputs { return {x.unsqueeze(0)}; });
  auto loss = FunctionLoss([f](const auto& z, const Batch&) { return f(z[0][0]).reshape({1}); }, convex);
  Tensor one = torch::zeros({1, 1}, f64());
  return Objective(model, loss, Dataset(one, one).full());
}

// x'Ax/2 - b'x from 0, A = Q diag(l) Q', b = Q diag(l) c + Q d: stationary at Q c where d = 0.
std::pair<Objective, double> quadratic(const Tensor& l, const Tensor& c, const Tensor& d) {
  int64_t n = l.numel();
  Tensor Q = std::get<0>(at::linalg_qr(normal({n, n}, 1)));
  Tensor A = Q.mm(at::diag(l)).mm(Q.t()), b = Q.mv(l * c + d);
  auto f = [=](const Tensor& x) { return x.dot(A.mv(x)) / 2 - b.dot(x); };
  return {as_network(torch::zeros({n}, f64()), f, l.min().item<double>() >= 0),
          -0.5 * (l * c * c).sum().item<double>()};
}

// The mean of the squares of 10 (y_i - x_i^2) and 1 - x_i over n / 2 valleys (More, Garbow & Hillstrom 1981,
// problem 21), from (-1.2, 1) in the first to (-0.2, 1) in the last.
std::pair<Objective, double> rosenbrock(int64_t n) {
  Tensor x = at::linspace(-1.2, n == 2 ? -1.2 : -0.2, n / 2, f64()).requires_grad_(),
         y = at::ones({n / 2}, f64()).requires_grad_();
  Model model({{"x", x}, {"y", y}}, [x, y](const Model::Inputs&) -> Model::Outputs {
    return {at::cat({10 * (y - x * x), 1 - x}).unsqueeze(0)};
  });
  Dataset data(torch::zeros({1, 1}, f64()), torch::zeros({1, n}, f64()));
  return {Objective(model, MeanSquaredError(), data.full()), 0};
}

// Labels that no plane separates; the minimum by Newton's method on the normal equations.
std::pair<Objective, double> logistic_regression() {
  Tensor X = normal({60, 4}, 31);
  Tensor y = (X.mv(normal({4}, 32)) + 1.5 * normal({60}, 33) > 0).to(torch::kFloat64);
  Tensor w = torch::zeros({4}, f64());
  for (int i = 0; i < 30; ++i) {
    Tensor p = X.mv(w).sigmoid();
    w = w - at::linalg_solve(X.t().mm(X * (p * (1 - p)).unsqueeze(1)), X.t().mv(p - y));
  }
  Tensor z = X.mv(w);
  double least = (at::softplus(z) - y * z).mean().item<double>();
  Tensor v = torch::zeros({1, 4}, f64()).requires_grad_();
  Model model({{"v", v}}, [v](const Model::Inputs& x) -> Model::Outputs { return {at::linear(x[0], v)}; });
  return {Objective(model, BinaryCrossEntropy(), Dataset(X, y.unsqueeze(1)).full()), least};
}

// 2-6-3, tanh: 60 points of three sectors, which it can tell apart.
std::pair<Objective, double> classification() {
  Tensor X = normal({60, 2}, 41), angle = at::atan2(X.select(1, 1), X.select(1, 0));
  Tensor y = ((angle / M_PI + 1) * 1.5).floor().clamp(0, 2).to(torch::kLong);
  Tensor W = normal({6, 2}, 42).requires_grad_(), b = normal({6}, 43).requires_grad_(),
         V = (0.3 * normal({3, 6}, 44)).requires_grad_(), c = torch::zeros({3}, f64()).requires_grad_();
  Model net({{"W", W}, {"b", b}, {"V", V}, {"c", c}}, [=](const Model::Inputs& x) -> Model::Outputs {
    return {at::linear(at::tanh(at::linear(x[0], W, b)), V, c)};
  });
  return {Objective(net, CrossEntropy(), Dataset(X, y).full()), 0};
}

// x^2 - y^2 + y^4: a strict saddle at 0, minima of -1/4 at (0, +-1/sqrt 2).
std::pair<Objective, double> saddle(double x, double y) {
  auto f = [](const Tensor& p) { return p[0].square() - p[1].square() + p[1].pow(4); };
  return {as_network(torch::tensor({x, y}, f64()), f, false), -0.25};
}

const std::vector<Problem>& problems() {
  static const std::vector<Problem> all{
      {"quadratic",
       [] {
         Tensor l = torch::linspace(1, 3, 10, f64());
         return quadratic(l, normal({10}, 2), at::zeros_like(l));
       },
       300, 1e-6},
      {"ill_conditioned",  // condition 1e6, every eigenvector with the same share of f0 - f*
       [] {
         Tensor l = torch::logspace(-6, 0, 10, 10, f64());
         return quadratic(l, l.rsqrt(), at::zeros_like(l));
       },
       300, 1e-6},
      {"singular",
       [] {
         Tensor l = torch::tensor({5.0, 3.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0}, f64());
         return quadratic(l, normal({8}, 2), at::zeros_like(l));
       },
       300, 1e-6},
      {"inconsistent",
       [] {
         Tensor l = torch::tensor({5.0, 3.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0}, f64());
         return quadratic(l, normal({8}, 2), torch::tensor({0., 0., 0., 0., 0., 0., 0., 3.0}, f64()));
       },
       100, 0},
      {"indefinite",
       [] {
         Tensor l = torch::tensor({5.0, 3.0, 1.0, 0.5, -0.5, -2.0}, f64());
         return quadratic(l, normal({6}, 2), at::zeros_like(l));
       },
       100, 0},
      {"rosenbrock_2", [] { return rosenbrock(2); }, 1000, 1e-8},
      {"rosenbrock_100", [] { return rosenbrock(100); }, 600, 1e-8},
      {"logistic_regression", logistic_regression, 300, 1e-6},
      {"regression",
       [] {
         return std::pair{testing::small_mlp(), 0.0};
       },
       300, 1e-2},
      {"classification", classification, 300, 3e-2},
      {"at_saddle", [] { return saddle(0, 0); }, 30, 1e-6, 0},
      {"near_saddle", [] { return saddle(0.5, 1e-4); }, 300, 1e-6},
  };
  return all;
}

// ---- the methods ----

// Defaults, but for methods that have nothing to find their learning rate by.
OptionMap options_of(const std::string& method, const Objective& objective) {
  if (method == "sgd" || method == "momentum") {
    auto H = dense(Hessian(objective)).matrix;
    double rate = 1 / at::linalg_eigvalsh(H).abs().max().item<double>();
    return {{"learning_rate", method == "sgd" ? rate : 0.2 * rate}};
  }
  if (method == "adam") return {{"learning_rate", 0.05}};
  if (method == "adamw") return {{"learning_rate", 0.05}, {"weight_decay", 0.0}};
  if (method == "rmsprop") return {{"learning_rate", 0.01}};
  if (method == "muon") return {{"learning_rate", 0.05}, {"adam_learning_rate", 0.05}};
  if (method == "soap") return {{"learning_rate", 0.05}, {"weight_decay", 0.0}};
  if (method == "shampoo" || method == "sophia") return {{"learning_rate", 0.05}};
  return {};
}

// ---- the page ----

struct Page {
  std::vector<std::string> columns;
  std::map<std::string, std::map<std::string, std::string>> rows;  // method, problem: cell
  std::map<std::string, std::string> notes;                        // by letter
};

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  static const std::regex cell(R"(\|\s*([^|]*?)\s*(?=\|))");
  for (std::sregex_iterator it(line.begin(), line.end(), cell), end; it != end; ++it)
    cells.push_back((*it)[1]);
  return cells;
}

const Page& page() {
  static const Page read = [] {
    Page page;
    std::ifstream file(OSCULANT_OPTIMIZER_TABLE);
    EXPECT_TRUE(file) << "cannot read " << OSCULANT_OPTIMIZER_TABLE;
    std::smatch note;
    for (std::string line; std::getline(file, line);) {
      if (std::regex_match(line, note, std::regex(R"(- \(([a-z])\) (.+))"))) page.notes[note[1]] = note[2];
      auto cells = split(line);
      if (cells.size() < 3 || cells[0].starts_with("---")) continue;
      if (cells[0] == "method")
        page.columns.assign(cells.begin() + 1, cells.end());
      else
        for (size_t i = 1; i < cells.size() && i <= page.columns.size(); ++i)
          page.rows[cells[0]][page.columns[i - 1]] = cells[i];
    }
    return page;
  }();
  return read;
}

// ---- a cell ----

struct Outcome {
  std::string refusal;  // of the method; then nothing else is known
  Summary summary;
  double left = unknown_number;  // (f - f*) / (f0 - f*)
  std::string note;              // of the last step
  std::string str() const {
    if (!refusal.empty()) return "refused: " + refusal;
    return fmt::format("{}, {:.3g} of f0 - f* left; last step: {}", summary.brief_report(), left, note);
  }
};

// What holds of every run, whatever its end.
void expect_true_report(const Problem& problem, const Objective& objective, const Summary& summary) {
  EXPECT_TRUE(at::isfinite(objective.layout().theta()).all().item<bool>());
  auto [value, gradient] = objective.value_and_gradient();
  EXPECT_DOUBLE_EQ(summary.final_loss, value);
  EXPECT_LE(summary.steps, problem.steps);
  if (summary.reason == StopReason::steps) {
    EXPECT_EQ(summary.steps, problem.steps);
  }
  EXPECT_LE(summary.failed_steps, summary.rejected_steps);
  EXPECT_LE(summary.rejected_steps, summary.steps);
  double norm = gradient.norm().item<double>();
  if (!std::isnan(summary.gradient_norm)) {
    EXPECT_NEAR(summary.gradient_norm, norm, 1e-9 * norm);
  }
  if (summary.reason == StopReason::gradient_norm) {
    EXPECT_LE(norm, problem.gradient_norm);
  }
}

class LastNote : public Observer {
 public:
  void on_step(const StepRecord& record, const Minimizer&) override { note = record.note; }
  std::string note;
};

Outcome run(const std::string& method, const Problem& problem) {
  auto [objective, least] = problem.make();
  double start = objective.value();
  auto last = std::make_shared<LastNote>();
  MinimizeOptions options{.steps = problem.steps,
                          .gradient_norm = problem.gradient_norm,
                          .max_rejections = 20,
                          .observers = {last}};
  double goal = least + problem.reached * (start - least);
  if (problem.reached > 0) options.target = fmt::format("loss<={:.17g}", goal);
  Outcome outcome;
  try {
    outcome.summary = minimize(objective, make_method(method, options_of(method, objective)), options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    outcome.refusal = error.what();
    return outcome;
  }
  expect_true_report(problem, objective, outcome.summary);
  outcome.note = last->note;
  outcome.left = (outcome.summary.final_loss - least) / (start - least);
  return outcome;
}

// Whether the run ended as the cell says. "40": reached in at most 40 steps, of which at least half were
// needed; "0.3": not reached, at most this and at least half of it is left; "stays": no step changed the
// loss; "steps", "stalled", "numerical_failure": on its way down without end, stopped for this reason.
void expect_end(const std::string& cell, const Problem& problem, const Outcome& outcome) {
  std::string what = outcome.str();
  bool reached = outcome.summary.reason == StopReason::target;
  if (std::regex_match(cell, std::regex("[0-9]+"))) {
    EXPECT_TRUE(reached) << what;
    EXPECT_LE(outcome.summary.steps, std::stol(cell)) << what;
    EXPECT_GE(2 * outcome.summary.steps, std::stol(cell)) << what;
  } else if (std::regex_match(cell, std::regex(R"([0-9.]+(e-?[0-9]+)?)"))) {
    EXPECT_FALSE(reached) << what;
    EXPECT_LE(outcome.left, std::stod(cell)) << what;
    EXPECT_GE(2 * outcome.left, std::stod(cell)) << what;
  } else if (cell == "stays") {
    EXPECT_FALSE(reached) << what;
    EXPECT_EQ(outcome.summary.final_loss, outcome.summary.initial_loss) << what;
  } else {
    EXPECT_EQ(problem.reached, 0) << cell;
    EXPECT_EQ(to_string(outcome.summary.reason), cell) << what;
    EXPECT_LT(outcome.left, -3) << what;
  }
}

class Cell : public ::testing::Test {
 public:
  Cell(std::string method, const Problem& problem) : method_(std::move(method)), problem_(problem) {}

  void TestBody() override {
    auto outcome = run(method_, problem_);
    const auto& rows = page().rows;
    std::string cell = rows.count(method_) ? rows.at(method_).at(problem_.name) : "";
    std::smatch parts;
    ASSERT_TRUE(std::regex_match(cell, parts, std::regex(R"((\S+)( \(([a-z])\))?)")))
        << "docs/optimizer-table.md says \"" << cell << "\", measured: " << outcome.str();
    std::string end = parts[1], note = parts[3];
    bool plain = std::regex_match(end, std::regex("[0-9]+"));
    EXPECT_EQ(page().notes.count(note), plain && note.empty() ? 0 : 1) << "no note says why: " << end;
    EXPECT_EQ(end == "refused", !outcome.refusal.empty()) << outcome.str();
    if (outcome.refusal.empty()) expect_end(end, problem_, outcome);
  }

 private:
  std::string method_;
  const Problem& problem_;
};

const bool registered = [] {
  for (const auto& method : method_table())
    for (const auto& problem : problems())
      ::testing::RegisterTest(("Table/" + method.name).c_str(), problem.name.c_str(), nullptr, nullptr,
                              __FILE__, __LINE__,
                              [name = method.name, &problem]() -> Cell* { return new Cell(name, problem); });
  return true;
}();

TEST(Table, has_a_row_a_method_and_a_column_a_problem) {
  std::vector<std::string> names;
  for (const auto& problem : problems()) names.push_back(problem.name);
  EXPECT_EQ(page().columns, names);
  for (const auto& [method, cells] : page().rows) EXPECT_NO_THROW(find_method(method));
  EXPECT_EQ(page().rows.size(), method_table().size());
}

}  // namespace
}  // namespace osculant
