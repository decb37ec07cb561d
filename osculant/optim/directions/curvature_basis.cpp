#include "osculant/optim/directions/curvature_basis.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/curvature/curvature.h"
#include "osculant/io/archive.h"
#include "osculant/linop/by_rows.h"
#include "osculant/linop/operators.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/subspace.h"

namespace osculant {

namespace {

constexpr int64_t largest_dense = 5000;

uint64_t draw_seed(RandomStream& random) {
  return static_cast<uint64_t>(random.integers(int64_t{1} << 62, {1}).item<int64_t>());
}

}  // namespace

CurvatureBasis::CurvatureBasis(const CurvatureBasisOptions& options, int64_t n)
    : options_(options), exact_(options.rank >= n) {
  options_.rank = std::min(options_.rank, n);
  if (exact_ && n > largest_dense)
    fail(ErrorKind::memory,
         fmt::format(
             "rank = full: the matrix of {} parameters would be a dense {} x {} matrix, the most is {}; "
             "choose a rank, 20 say",
             n, n, n, largest_dense));
}

Needs CurvatureBasis::needs() const {
  bool hessian = options_.matrix == CurvatureMatrix::hessian;
  return {.gradient = true, .hessian = hessian, .gauss_newton = !hessian};
}

Tensor CurvatureBasis::product(Linearization& linearization, const Tensor& X) const {
  return options_.matrix == CurvatureMatrix::hessian ? linearization.hessian_product(X)
                                                     : linearization.gauss_newton_product(X);
}

CurvatureBasis::Update CurvatureBasis::update(const StepContext& context) {
  Update update;
  VectorSpace space(context.gradient.numel(), context.gradient.options());
  auto A = function_operator(
      space, [&](const Tensor& X) { return product(context.linearization, X); }, "curvature");
  const Communicator& processes = context.linearization.objective().communicator();
  if (exact_)
    factorise(*A, update);
  else if (options_.warm && !empty())
    iterate_subspace(*A, update);
  else if (options_.method == LowRankMethod::lanczos)
    factorise_lanczos(*A, processes, context.random, update);
  else
    factorise_low_rank(*A, processes, context.random, update);
  update.products = A->products();
  return update;
}

void CurvatureBasis::factorise(const LinearOperator& A, Update& update) {
  Tensor matrix = dense(A, largest_dense).matrix.to(at::kDouble);
  if (!at::isfinite(matrix).all().item<bool>()) {
    update.note = "the matrix is not finite";
    return;
  }
  try {
    auto [values, vectors] = at::linalg_eigh(matrix);
    keep(vectors, values, at::zeros_like(values));
  } catch (const c10::LinAlgError&) {
    update.note = "the eigendecomposition did not converge";
  }
}

void CurvatureBasis::factorise_lanczos(const LinearOperator& A, const Communicator& processes,
                                       RandomStream& random, Update& update) {
  EigenOptions eigen;
  eigen.count = options_.rank;
  eigen.target = options_.positive ? EigenTarget::largest : EigenTarget::dominant;
  eigen.tolerance = 1e-2;
  eigen.verify = false;
  eigen.check_products = 0;
  Tensor before = random.state();
  eigen.seed = draw_seed(random);
  eigen.progress = [](const EigenProgress&) { return interrupt_signal() == 0; };
  auto dealt = by_rows(borrow(A), processes);
  auto found = eigenpairs(*dealt, eigen);
  if (found.stop == EigenStop::interrupted) {
    update.interrupted = true;
    return random.set_state(before);
  }
  if (found.stop == EigenStop::non_finite || found.values.numel() == 0) {
    update.note = "Lanczos found no eigenpairs: " + found.message;
    return;
  }
  if (!found.converged()) update.note = "Lanczos: " + found.message;
  keep(dealt->domain().gather(found.vectors), found.values, found.residuals);
}

void CurvatureBasis::factorise_low_rank(const LinearOperator& A, const Communicator& processes,
                                        RandomStream& random, Update& update) {
  LowRankOptions options;
  options.method = options_.method;
  options.count = options_.rank;
  options.error_probes = 0;
  options.seed = draw_seed(random);
  auto dealt = by_rows(borrow(A), processes);
  auto found = low_rank(*dealt, options);
  if (found.rank() == 0) {
    update.note = fmt::format("{}: {}", to_string(options_.method), found.message);
    return;
  }
  keep(dealt->domain().gather(found.vectors), found.values, at::zeros_like(found.values));
}

void CurvatureBasis::iterate_subspace(const LinearOperator& A, Update& update) {
  auto found = refresh_subspace(A, next_);
  if (!found.finite) {
    update.note = "a product was not finite; the last basis stays";
    return;
  }
  keep(found.vectors, found.values, found.residuals);
  next_ = found.next;
}

void CurvatureBasis::keep(const Tensor& vectors, const Tensor& values, const Tensor& residuals) {
  vectors_ = next_ = vectors;
  values_ = values.cpu();
  residuals_ = residuals.cpu();
}

void CurvatureBasis::save(Archive& archive) const {
  if (empty()) return;
  archive.put("vectors", vectors_);
  archive.put("values", values_);
  archive.put("residuals", residuals_);
  archive.put("next", next_);
}

void CurvatureBasis::load(const Archive& archive, const ParameterLayout& layout) {
  vectors_ = Tensor();
  if (!archive.contains("vectors")) return;
  vectors_ = archive.tensor("vectors").to(layout.device());
  values_ = archive.tensor("values");
  residuals_ = archive.tensor("residuals");
  next_ = archive.tensor("next").to(layout.device());
}

}  // namespace osculant
