#include "osculant/optim/directions/cg_preconditioner.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/curvature/kfac.h"
#include "osculant/curvature/squared_gradients.h"
#include "osculant/io/archive.h"
#include "osculant/linop/kronecker_archive.h"
#include "osculant/solve/preconditioners.h"
#include "osculant/spectrum/low_rank.h"

namespace osculant {

void CgPreconditionerOptions::check() const {
  require_at_least("preconditioner_rank", static_cast<double>(rank), 1);
  require_at_least("preconditioner_probes", static_cast<double>(probes), 1);
  require_at_least("preconditioner_draws", static_cast<double>(draws), 1);
  require_at_least("preconditioner_refresh", static_cast<double>(refresh), 1);
  require_at_least("preconditioner_growth", growth, 1);
}

void visit(OptionVisitor& v, CgPreconditionerOptions& o) {
  v.choice<Preconditioner>("preconditioner", o.kind,
                           {{"none", Preconditioner::none},
                            {"diagonal", Preconditioner::diagonal},
                            {"low_rank", Preconditioner::low_rank},
                            {"kfac", Preconditioner::kfac},
                            {"ekfac", Preconditioner::ekfac}},
                           "of CG: (mean of squared gradients + lambda)^0.75, Nystrom's approximation, or "
                           "Kronecker products + lambda");
  v.integer("preconditioner_rank", o.rank, ">= 1", "low_rank: eigenpairs kept");
  v.integer("preconditioner_probes", o.probes, ">= 1",
            "diagonal: sign vectors that estimate what no layer tells");
  v.integer("preconditioner_draws", o.draws, ">= 1", "kfac, ekfac: targets drawn for each example");
  v.integer("preconditioner_refresh", o.refresh, ">= 1", "steps after which it is made anew at the latest");
  v.number("preconditioner_growth", o.growth, ">= 1",
           "made anew when CG takes this many times the iterations it took at first");
}

namespace {

uint64_t seed_from(RandomStream& random) {
  return static_cast<uint64_t>(random.integers(int64_t{1} << 62, {1}).item<int64_t>());
}

}  // namespace

bool CgPreconditioner::due() const {
  return options_.kind != Preconditioner::none && (age_ < 0 || age_ >= options_.refresh || slow_);
}

std::string CgPreconditioner::update(const LinearOperator& B, Linearization& here, RandomStream& random) {
  diagonal_ = vectors_ = values_ = Tensor();
  layers_.reset();
  age_ = first_ = 0;
  slow_ = false;
  switch (options_.kind) {
    case Preconditioner::diagonal:
      return make_diagonal(here, random);
    case Preconditioner::low_rank:
      return make_low_rank(B, random);
    default:
      return make_layers(here.objective(), random);
  }
}

namespace {

// Where the examples of a term mix there are no layers' gradients, and what the signs say is taken.
bool couples_examples(const Objective& objective) {
  const auto& terms = objective.terms();
  return std::any_of(terms.begin(), terms.end(),
                     [](const Term& term) { return term.model.couples_examples(); });
}

}  // namespace

std::string CgPreconditioner::make_diagonal(Linearization& here, RandomStream& random) {
  const Objective& objective = here.objective();
  if (couples_examples(objective)) {
    diagonal_ = here.mean_squared_gradients(options_.probes, random);
  } else {
    auto squares = mean_squared_gradients(objective);
    diagonal_ = squares.mean;
    if (!squares.untapped.empty()) {
      Tensor estimate = here.mean_squared_gradients(options_.probes, random);
      for (const auto& parameter : squares.untapped) {
        const auto& at = objective.layout().parameters()[parameter.index];
        diagonal_.narrow(0, at.offset, at.size).copy_(estimate.narrow(0, at.offset, at.size));
      }
    }
  }
  bool finite = at::isfinite(diagonal_).all().item<bool>();
  if (!finite) diagonal_ = Tensor();
  return finite ? "preconditioner made anew" : "no preconditioner: a squared gradient is not finite";
}

std::string CgPreconditioner::make_low_rank(const LinearOperator& B, RandomStream& random) {
  LowRankOptions nystrom;
  nystrom.method = B.positive_semidefinite() ? LowRankMethod::nystrom : LowRankMethod::indefinite_nystrom;
  nystrom.count = options_.rank;
  nystrom.error_probes = 0;
  nystrom.seed = seed_from(random);
  auto found = low_rank(B, nystrom);
  if (found.rank() == 0) return "no preconditioner: " + found.message;
  vectors_ = found.vectors;
  values_ = found.values.abs();
  return fmt::format("preconditioner made anew, {} products", found.products);
}

std::string CgPreconditioner::make_layers(const Objective& objective, RandomStream& random) {
  KfacOptions options{.sample = {.draws = options_.draws, .seed = seed_from(random)}};
  layers_ = options_.kind == Preconditioner::ekfac
                ? ekfac(objective, options).matrix
                : eigen_decomposition(*kfac(objective, options).matrix, objective.communicator());
  if (layers_ && !std::isfinite(layers_->trace())) layers_.reset();
  return layers_ ? "preconditioner made anew" : "no preconditioner: a factor has no eigenvectors";
}

OperatorPtr CgPreconditioner::inverse(double lambda) const {
  // Positive definite at lambda = 0 too: by what is rounding beside the largest entry.
  auto shift = [&](const Tensor& d) {
    double least = VectorSpace(1, d.options()).epsilon() * d.max().item<double>();
    return std::max({lambda, least, 1e-30});
  };
  if (diagonal_.defined()) return diagonal_power_preconditioner(diagonal_, shift(diagonal_));
  if (vectors_.defined()) return nystrom_preconditioner(vectors_, values_, shift(values_));
  if (layers_) {
    double largest = 0;
    for (const auto& block : layers_->blocks())
      largest = std::max(largest, block.values.max().item<double>());
    return layers_->inverse(shift(at::full({1}, largest, layers_->domain().options())));
  }
  return nullptr;
}

void CgPreconditioner::solved(int64_t iterations) {
  if (options_.kind == Preconditioner::none) return;
  if (age_++ == 0) first_ = iterations;
  slow_ =
      static_cast<double>(iterations) > options_.growth * static_cast<double>(std::max<int64_t>(first_, 1));
}

void CgPreconditioner::save(Archive& archive) const {
  if (options_.kind == Preconditioner::none) return;
  archive.put("age", age_);
  archive.put("first_iterations", first_);
  archive.put("slow", slow_);
  if (diagonal_.defined()) archive.put("diagonal", diagonal_);
  if (layers_) {
    auto layers = archive.scope("layers");
    osculant::save(layers, layers_->blocks());
  }
  if (!vectors_.defined()) return;
  archive.put("vectors", vectors_);
  archive.put("values", values_);
}

void CgPreconditioner::load(const Archive& archive, const ParameterLayout& layout) {
  if (options_.kind == Preconditioner::none) return;
  age_ = archive.integer("age");
  first_ = archive.integer("first_iterations");
  slow_ = archive.flag("slow");
  diagonal_ = archive.contains("diagonal") ? archive.tensor("diagonal", layout.theta()) : Tensor();
  vectors_ = values_ = Tensor();
  layers_.reset();
  if (archive.contains("layers.count"))
    layers_ = std::make_shared<KroneckerEigen>(VectorSpace(layout.size(), layout.options()),
                                               load_eigen_blocks(archive.scope("layers"), layout));
  if (!archive.contains("vectors")) return;
  vectors_ = archive.tensor("vectors").to(layout.device());
  values_ = archive.tensor("values");
}

}  // namespace osculant
