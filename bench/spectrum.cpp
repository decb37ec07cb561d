// What answers about a spectrum cost in products, and how far off they are. One thread.
//
// The largest eigenvalues of the Hessians of CA and CB at initialisation, on one batch of 256 examples with
// random labels, float32, five starts (a round each), against a reference converged further: errors and
// bounds are relative to the largest. Values alone at a tolerance of 1e-2 (and at the default, 1e-3), which
// is what errors of 1e-3 take and what eigsh is given; with bounds at the default. And the trace from 100
// products, 200 seeds (a round each), of the Hessian of a tanh network 20-16-10 on 256 examples and of five
// spectra of the same size.

#include <ATen/Parallel.h>
#include <torch/nn.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include "bench/benchmark.h"
#include "bench/networks.h"
#include "osculant/base/random.h"
#include "osculant/curvature/curvature.h"
#include "osculant/data/dataset.h"
#include "osculant/linop/operators.h"
#include "osculant/model/model.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/objective.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/trace.h"

namespace bench = osculant::bench;
namespace nn = torch::nn;
using at::Tensor;

namespace {

constexpr int64_t kExamples = 256, kTraceProducts = 100, kTraceSeeds = 200;

osculant::Objective objective_of(nn::Sequential net, const Tensor& inputs, const Tensor& labels) {
  return {osculant::Model(std::move(net)), osculant::CrossEntropy(),
          osculant::Dataset(inputs, labels).full()};
}

// ---- eigenvalues ----

struct Search {
  int64_t count;
  double bar, bar_with_bounds;  // products
};

struct Found {
  std::vector<double> products, error, bound, missed;

  void add(const osculant::EigenResult& result, const Tensor& reference) {
    Tensor wrong = result.values - reference.narrow(0, 0, result.values.size(0));
    products.push_back(static_cast<double>(result.products));
    error.push_back(wrong.abs().max().item<double>() / reference[0].item<double>());
    bound.push_back(result.pairing_bound / result.scale);
    missed.push_back(result.missed_failure_probability);
  }
};

void measure_eigenvalues(const std::string& problem, const osculant::Hessian& H,
                         const std::vector<Search>& searches, int64_t starts, std::vector<bench::Row>& rows) {
  auto reference = eigenpairs(H, {.count = 10, .tolerance = 1e-5, .max_products = 3000, .seed = 1000});
  std::cout << problem << ", reference: " << reference.brief() << '\n';
  for (const auto& search : searches) {
    Found loose, alone, bounded;
    for (int64_t start = 0; start < starts; ++start) {
      auto seed = static_cast<uint64_t>(start);
      osculant::EigenOptions values{
          .count = search.count, .tolerance = 1e-2, .seed = seed, .verify = false, .check_products = 0};
      loose.add(eigenpairs(H, values), reference.values);
      values.tolerance = 1e-3;
      alone.add(eigenpairs(H, values), reference.values);
      bounded.add(eigenpairs(H, {.count = search.count, .seed = seed}), reference.values);
    }
    std::string top = "top " + std::to_string(search.count);
    auto row = [&](const std::string& name, std::optional<double> bar, const std::vector<double>& values) {
      rows.push_back(bench::row_of({.problem = problem, .name = top + name, .bar = bar}, values));
    };
    row(", products", search.bar, loose.products);
    row(", error", 1e-3, loose.error);
    row(", products at tolerance 1e-3", search.bar, alone.products);
    row(", error at tolerance 1e-3", 1e-3, alone.error);
    row(" with bounds, products", search.bar_with_bounds, bounded.products);
    row(" with bounds, error", 1e-3, bounded.error);
    row(" with bounds, pairing bound", 1e-3, bounded.bound);
    row(" with bounds, P(one is missed)", 0.01, bounded.missed);
  }
}

// ---- trace ----

struct Matrix {
  std::string name;
  Tensor values;  // [n, n], float64
};

Tensor with_spectrum(const Tensor& eigenvalues) {
  int64_t n = eigenvalues.numel();
  osculant::RandomStream random(1, "matrix");
  Tensor Q = std::get<0>(at::linalg_qr(random.normal({n, n}, at::kDouble)));
  return Q.mm(at::diag(eigenvalues)).mm(Q.t());
}

std::vector<Matrix> matrices() {
  torch::manual_seed(0);
  Tensor inputs = at::randn({kExamples, 20}, at::kDouble), labels = at::randint(10, {kExamples}, at::kLong);
  nn::Sequential net(nn::Linear(20, 16), nn::Tanh(), nn::Linear(16, 10));
  net->to(torch::kFloat64);
  Tensor H = to_dense(osculant::Hessian(objective_of(net, inputs, labels)));

  int64_t n = H.size(0), half = n / 2;
  Tensor i = at::arange(1, n + 1, at::kDouble), bulk = 0.1 + 0.01 * at::linspace(0, 1, n, at::kDouble);
  Tensor noise = 0.05 * osculant::RandomStream(7, "noise").normal({n - 10}, at::kDouble);
  auto some = [](double value) { return at::full({8}, value, at::kDouble); };
  return {{"tanh network, 506 parameters", (H + H.t()) / 2},
          {"flat", with_spectrum(10 * bulk)},
          {"power law", with_spectrum(i.pow(-1.5))},
          {"clustered", with_spectrum(at::cat({some(20), some(-5), bulk.slice(0, 16)}))},
          {"low rank + noise", with_spectrum(at::cat({at::linspace(1, 10, 10, at::kDouble), noise}))},
          {"plus minus pairs", with_spectrum(at::cat({2 / i.slice(0, 0, half), -1 / i.slice(0, 0, half)}))}};
}

struct Estimates {
  std::vector<double> errors;
  double covered = 0;
  double median() const {
    auto sorted = errors;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

Estimates estimate(const Matrix& matrix, osculant::TraceMethod method) {
  auto A = osculant::dense_operator(matrix.values, true);
  double truth = matrix.values.trace().item<double>();
  Estimates result;
  for (uint64_t seed = 0; seed < kTraceSeeds; ++seed) {
    auto trace = osculant::trace(*A, {.products = kTraceProducts, .method = method, .seed = seed});
    result.errors.push_back(std::abs(trace.value - truth) / std::abs(truth));
    result.covered += trace.low <= truth && truth <= trace.high;
  }
  return result;
}

void measure_trace(const Matrix& matrix, std::vector<bench::Row>& rows) {
  using osculant::TraceMethod;
  auto automatic = estimate(matrix, TraceMethod::automatic),
       hutchinson = estimate(matrix, TraceMethod::hutchinson),
       deflated = estimate(matrix, TraceMethod::deflated), xtrace = estimate(matrix, TraceMethod::xtrace);
  double best = std::min({hutchinson.median(), deflated.median(), xtrace.median()});
  auto row = [&](const std::string& name, std::optional<double> bar, const std::vector<double>& values) {
    rows.push_back(bench::row_of({.problem = matrix.name, .name = "trace, " + name, .bar = bar}, values));
  };
  row("automatic", 1.15 * best, automatic.errors);
  row("Hutchinson", std::nullopt, hutchinson.errors);
  row("Hutch++", std::nullopt, deflated.errors);
  row("XTrace", std::nullopt, xtrace.errors);
  row("automatic, intervals of 200 that miss", 20, {kTraceSeeds - automatic.covered});
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 5);
  at::set_num_threads(1);
  std::vector<bench::Row> rows;

  torch::manual_seed(0);
  Tensor labels = at::randint(10, {kExamples}, at::kLong);
  Tensor vectors = at::randn({kExamples, 784}), images = at::randn({kExamples, 1, 28, 28});
  osculant::Hessian CA(objective_of(bench::dense_network(), vectors, labels));
  osculant::Hessian CB(objective_of(bench::convolutional_network(), images, labels));
  measure_eigenvalues("CA", CA, {{5, 66, 110}, {10, 127, 150}}, arguments.rounds, rows);
  measure_eigenvalues("CB", CB, {{5, 23, 30}, {10, 56, 90}}, arguments.rounds, rows);
  for (const auto& matrix : matrices()) measure_trace(matrix, rows);
  bench::write({"spectrum", "what the row says", rows}, arguments.out);
}
