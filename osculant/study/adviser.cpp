#include "osculant/study/adviser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

enum class Family {
  plain,     // a step along the gradient
  adaptive,  // entry by entry
  matrix,    // layer by layer
  curvature_diagonal,
  limited_memory,
  dense_quasi_newton,
  least_squares,
  batch_gauss_newton,
  krylov,
  dense_newton,
  low_rank,
};

constexpr std::array<std::pair<std::string_view, Family>, 28> families{{
    {"sgd", Family::plain},
    {"momentum", Family::plain},
    {"adam", Family::adaptive},
    {"adamw", Family::adaptive},
    {"rmsprop", Family::adaptive},
    {"muon", Family::matrix},
    {"soap", Family::matrix},
    {"shampoo", Family::matrix},
    {"kfac", Family::matrix},
    {"ekfac", Family::matrix},
    {"adahessian", Family::curvature_diagonal},
    {"sophia", Family::curvature_diagonal},
    {"lbfgs", Family::limited_memory},
    {"lsr1", Family::limited_memory},
    {"bfgs", Family::dense_quasi_newton},
    {"ssbroyden", Family::dense_quasi_newton},
    {"dfp", Family::dense_quasi_newton},
    {"broyden", Family::dense_quasi_newton},
    {"sr1", Family::dense_quasi_newton},
    {"levenberg_marquardt", Family::least_squares},
    {"gauss_newton", Family::batch_gauss_newton},
    {"hessian_free", Family::krylov},
    {"newton_cg", Family::krylov},
    {"newton_minres", Family::krylov},
    {"trust_region", Family::krylov},
    {"cubic_newton", Family::krylov},
    {"newton", Family::dense_newton},
    {"inverse_correction", Family::low_rank},
}};

Family family_of(const std::string& method) {
  for (const auto& [name, family] : families)
    if (name == method) return family;
  throw Error(ErrorKind::internal, fmt::format("the adviser does not know the method {}", method));
}

bool on_batches(Family family) {
  switch (family) {
    case Family::plain:
    case Family::adaptive:
    case Family::matrix:
    case Family::curvature_diagonal:
    case Family::batch_gauss_newton:
      return true;
    default:
      return false;
  }
}

// Kronecker factors are made of single examples.
bool needs_a_function_of_examples(std::string_view method) {
  return method == "kfac" || method == "ekfac";
}

bool needs_second_derivatives(Family family) {
  return family == Family::curvature_diagonal || family == Family::krylov || family == Family::dense_newton ||
         family == Family::low_rank;
}

// One layer: with the usual losses the objective is convex.
bool linear(const TrainingFacts& f) {
  return f.layers == 1;
}

// Whether a step on all examples is cheap enough for hundreds of them. Where they are many, batches tell most
// of what all of them tell, but for the smooth bottom of a convex problem.
bool sees_all(const TrainingFacts& f) {
  int64_t few = linear(f) ? 50000 : 3000;
  return f.examples <= few && !(f.gradient_seconds > 0.05);
}

std::string sizes(const TrainingFacts& f) {
  return fmt::format("{} parameters and {} examples", format_count(f.parameters), format_count(f.examples));
}

std::string gradient_cost(const TrainingFacts& f) {
  return std::isnan(f.gradient_seconds) ? ""
                                        : fmt::format(" (a gradient {})", format_seconds(f.gradient_seconds));
}

struct Merit {
  double value;
  std::string reason;
};

std::string all_examples(const TrainingFacts& f) {
  return fmt::format("all {} examples{}", format_count(f.examples), gradient_cost(f));
}

// Dense matrices of n x n, `what` they are: a step costs n^2 and more.
Merit dense_merit(const TrainingFacts& f, double best, const char* what) {
  std::string matrix =
      fmt::format("{} of {} x {} numbers", what, format_count(f.parameters), format_count(f.parameters));
  if (f.parameters > 3000) return {0.05, matrix + " is slow to work with."};
  if (!sees_all(f)) return {0.2, fmt::format("Each step looks at {}.", all_examples(f))};
  if (f.parameters > 500)
    return {0.7 * best, matrix + " takes its time, but steps on all examples see no noise."};
  return {best, matrix + fmt::format(" is cheap, and steps on all {} examples see no noise.",
                                     format_count(f.examples))};
}

Merit least_squares_merit(const TrainingFacts& f) {
  auto work = static_cast<double>(f.residuals()) * static_cast<double>(f.parameters);
  if (f.parameters > 5000 || work > 2e8)
    return {0.1, fmt::format("A Jacobian of {} {} by {} parameters is much work a step.",
                             format_count(f.residuals()), f.least_squares ? "residuals" : "outputs",
                             format_count(f.parameters))};
  // The same step for any convex loss, S S' its Hessian in the outputs; those have not raced.
  if (!f.least_squares)
    return {0.95,
            fmt::format("{} outputs and {} parameters: the dense Jacobian and the loss's Hessian in the "
                        "outputs make exact Gauss-Newton steps.",
                        format_count(f.residuals()), format_count(f.parameters))};
  return {0.99, fmt::format(
                    "Least squares with {} residuals and {} parameters: near a fit the Jacobian alone is the "
                    "curvature, and steps converge quadratically.",
                    format_count(f.residuals()), format_count(f.parameters))};
}

Merit batch_gauss_newton_merit(const TrainingFacts& f) {
  int64_t equations = std::min(f.parameters, advised_batch_size(f) * f.outputs);
  if (equations > 1000)
    return {0.15, fmt::format("A dense system of {} equations a step.", format_count(equations))};
  return {0.55,
          fmt::format("The exact Gauss-Newton step of each batch, {} equations: dear, and with the noise of "
                      "the batch.",
                      format_count(equations))};
}

Merit first_order_merit(const TrainingFacts& f, const std::string& method, Family family) {
  if (family == Family::plain)
    return {method == "momentum" ? 0.35 : 0.2,
            "One step length for all directions: as slow as the conditioning is bad."};
  if (family == Family::adaptive)
    return {method == "adam"    ? 0.6
            : method == "adamw" ? 0.59
                                : 0.45,
            fmt::format("Cheap steps on batches of {}; scales each parameter, not directions.",
                        format_count(advised_batch_size(f)))};
  if (family == Family::curvature_diagonal)
    return {method == "sophia" ? 0.6 : 0.4,
            "A diagonal of the curvature: more per step than Adam, seldom further."};
  double base = method == "muon" ? 0.9 : method == "soap" ? 0.74 : method == "shampoo" ? 0.78 : 0.7;
  bool kronecker = method == "kfac" || method == "ekfac";
  if (f.matrix_share < 0.5)
    return {0.5, fmt::format("Only {:.3g} % of the parameters are in {} with at least 16 rows and columns{}.",
                             100 * f.matrix_share, kronecker ? "matrices and kernels" : "matrices",
                             kronecker ? ": Kronecker factors of small ones tell little more than single "
                                         "entries"
                                       : "")};
  return {base,
          fmt::format("{:.3g} % of the parameters are in matrices: steps see each as one, at the price of a "
                      "gradient and some products.",
                      100 * f.matrix_share)};
}

Merit merit_of(const TrainingFacts& f, const std::string& method, Family family) {
  switch (family) {
    case Family::least_squares:
      return least_squares_merit(f);
    case Family::batch_gauss_newton:
      return batch_gauss_newton_merit(f);
    case Family::dense_quasi_newton: {
      double best = method == "ssbroyden" ? 0.97 : method == "bfgs" ? 0.96 : 0.6;
      return dense_merit(f, best, "An inverse Hessian");
    }
    case Family::dense_newton:
      return dense_merit(f, linear(f) ? 0.98 : 0.7, "A Hessian");
    case Family::limited_memory: {
      double best = method == "lbfgs" ? (f.least_squares ? 0.85 : 0.93) : 0.55;
      if (!sees_all(f)) return {0.3, fmt::format("Each step looks at {}.", all_examples(f))};
      return {best, fmt::format("{}: every step can see all of them{}, and the last steps give curvature for "
                                "nothing.",
                                sizes(f), gradient_cost(f))};
    }
    case Family::krylov: {
      double best = method == "hessian_free" ? (f.least_squares || linear(f) ? 0.87 : 0.62)
                    : linear(f)              ? 0.86
                                             : 0.64;
      if (!sees_all(f))
        return {best - 0.45, fmt::format("A step takes tens of products, each a gradient and a half over {}.",
                                         all_examples(f))};
      return {best, fmt::format("{}: steps can know the whole curvature, for tens of products each{}.",
                                sizes(f), gradient_cost(f))};
    }
    case Family::low_rank:
      return {0.4, "The curvature of the leading eigenpairs alone: worth it where a few stand out."};
    default:
      return first_order_merit(f, method, family);
  }
}

void say_cannot(MethodAdvice& advice, std::string why) {
  advice.runs = false;
  advice.merit = 0;
  advice.reason = std::move(why);
}

MethodAdvice advise(const TrainingFacts& f, const MethodInfo& info) {
  Family family = family_of(info.name);
  MethodAdvice advice;
  advice.method = info.name;
  int64_t batch = on_batches(family) ? advised_batch_size(f) : f.examples;
  advice.batch_size = batch >= f.examples ? "full" : std::to_string(batch);
  ProblemSize size{f.parameters, f.examples, f.outputs, batch, f.bytes_per_number};
  advice.bytes = info.memory.value(size) + static_cast<double>(f.gradient_bytes);
  advice.gradient_equivalents = info.cost.value(size);
  advice.seconds = advice.gradient_equivalents * f.gradient_seconds;
  Merit merit = merit_of(f, info.name, family);
  advice.merit = merit.value;
  advice.reason = merit.reason;
  if (f.coupled && needs_a_function_of_examples(info.name))
    say_cannot(
        advice,
        "It needs a function of each example, and batch normalisation in training mode, in which osculant "
        "train runs, makes one of the whole batch; --set model.mode=eval trains without that.");
  else if (needs_second_derivatives(family) && !f.second_derivatives)
    say_cannot(advice, "The network cannot be differentiated twice.");
  else if (f.random && !on_batches(family))
    say_cannot(advice, "The network's outputs are random: steps that compare values of the loss go astray.");
  else if (advice.bytes > static_cast<double>(f.memory_budget))
    say_cannot(advice,
               fmt::format("It needs {}, and the memory budget is {}.",
                           format_bytes(static_cast<int64_t>(advice.bytes)), format_bytes(f.memory_budget)));
  return advice;
}

}  // namespace

int64_t advised_batch_size(const TrainingFacts& facts) {
  constexpr int64_t batch = 256;
  return facts.examples <= batch ? facts.examples : batch;
}

std::vector<MethodAdvice> advise_methods(const TrainingFacts& facts) {
  std::vector<MethodAdvice> all;
  for (const auto& info : method_table()) all.push_back(advise(facts, info));
  std::stable_sort(all.begin(), all.end(), [](const MethodAdvice& a, const MethodAdvice& b) {
    if (a.runs != b.runs) return a.runs;
    return a.merit > b.merit;
  });
  return all;
}

}  // namespace osculant
