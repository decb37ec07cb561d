#include "osculant/study/matrices.h"

#include <fmt/format.h>

#include <algorithm>

#include "osculant/base/error.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/empirical_fisher.h"
#include "osculant/curvature/fisher.h"
#include "osculant/curvature/rank_bound.h"

namespace osculant {
namespace {

template <class Operator>
std::unique_ptr<LinearOperator> make(const Objective& objective, const RunConfig&) {
  return std::make_unique<Operator>(objective);
}

int64_t draws_of(const RunConfig& config) {
  return config.analyze.fisher_draws.value_or(1);
}

std::unique_ptr<LinearOperator> make_sampled(const Objective& objective, const RunConfig& config) {
  SampledFisherOptions options;
  options.draws = draws_of(config);
  options.seed = config.seed();
  return std::make_unique<SampledFisher>(objective, options);
}

int64_t outputs_bound(const Objective& objective, const RunConfig&) {
  return gauss_newton_rank_bound(objective);
}

// Of the outer products of one vector an example and draw.
int64_t draws_bound(const Objective& objective, const RunConfig& config) {
  return std::min(objective.examples() * draws_of(config), gauss_newton_rank_bound(objective));
}
int64_t examples_bound(const Objective& objective, const RunConfig&) {
  return std::min(objective.examples(), objective.parameters());
}
int64_t centred_bound(const Objective& objective, const RunConfig&) {
  return std::min(objective.examples() - 1, objective.parameters());
}

const Needs hessian{.gradient = true, .hessian = true}, outputs{.gradient = true, .gauss_newton = true};

}  // namespace

const std::vector<MatrixKind>& matrix_kinds() {
  static const std::vector<MatrixKind> kinds{
      {.name = "hessian",
       .title = "Hessian",
       .needs = hessian,
       .make = make<Hessian>,
       .models_objective = true},
      {.name = "gauss_newton",
       .title = "Gauss-Newton matrix",
       .needs = outputs,
       .make = make<GaussNewton>,
       .rank_bound = outputs_bound,
       .models_objective = true},
      {.name = "fisher",
       .title = "Fisher matrix",
       .needs = outputs,
       .make = make<Fisher>,
       .check = [](const Objective& objective) { require_likelihood(objective, "fisher"); },
       .rank_bound = outputs_bound,
       .note = "Exact, over targets that the network itself would draw: the Gauss-Newton matrix of the data "
               "terms, no regulariser in it.",
       .models_objective = true},
      {.name = "sampled_fisher",
       .title = "sampled Fisher matrix",
       .needs = outputs,
       .make = make_sampled,
       .check = [](const Objective& objective) { require_likelihood(objective, "sampled_fisher"); },
       .rank_bound = draws_bound,
       .note = "Errors are those of the matrix at the targets drawn; how far the eigenvalues of the Fisher "
               "matrix lie from these is unknown."},
      {.name = "empirical_fisher",
       .title = "empirical Fisher matrix",
       .needs = outputs,
       .make = make<EmpiricalFisher>,
       .check = [](const Objective& objective) { require_single_gradients(objective, "empirical_fisher"); },
       .rank_bound = examples_bound,
       .note = "The mean of outer products of the gradients of single examples: neither the Fisher matrix "
               "nor, in general, close to the Hessian."},
      {.name = "gradient_covariance",
       .title = "gradient covariance",
       .needs = outputs,
       .make = make<GradientCovariance>,
       .check =
           [](const Objective& objective) { require_single_gradients(objective, "gradient_covariance"); },
       .rank_bound = centred_bound,
       .note = "Of the gradients of single examples: divided by b, that of batches of b drawn with "
               "replacement."},
      {.name = "functional",
       .title = "functional part H - G",
       .needs = hessian | outputs,
       .make = make<FunctionalPart>,
       .note = "What the Gauss-Newton matrix leaves out of the Hessian of the data terms."},
  };
  return kinds;
}

const MatrixKind* matrix_kind(const std::string& name) {
  for (const auto& kind : matrix_kinds())
    if (kind.name == name) return &kind;
  return nullptr;
}

const MatrixKind& find_matrix(const std::string& name) {
  if (const MatrixKind* kind = matrix_kind(name)) return *kind;
  fail(ErrorKind::internal, fmt::format("no matrix is called {}", name));
}

std::vector<std::string> matrix_names() {
  std::vector<std::string> names;
  for (const auto& kind : matrix_kinds()) names.push_back(kind.name);
  return names;
}

}  // namespace osculant
