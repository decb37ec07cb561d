#include "osculant/optim/subspace_model.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace osculant {

namespace {

using Matrix = std::vector<std::vector<double>>;

// What is left of a unit column beside the others, below which it counts as theirs.
constexpr double independence = 1e-6;

Matrix to_matrix(const Tensor& A) {
  Tensor entries = A.to(at::kCPU, at::kDouble).contiguous();
  Matrix rows(static_cast<size_t>(A.size(0)), std::vector<double>(static_cast<size_t>(A.size(1))));
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy_n(entries.const_data_ptr<double>() + i * rows[i].size(), rows[i].size(), rows[i].begin());
  return rows;
}

// Of a symmetric matrix.
double smallest_eigenvalue(const Matrix& A) {
  if (A.size() == 1) return A[0][0];
  auto m = static_cast<int64_t>(A.size());
  Tensor entries = at::empty({m, m}, at::kDouble);
  for (size_t i = 0; i < A.size(); ++i)
    std::copy(A[i].begin(), A[i].end(), entries.data_ptr<double>() + i * A.size());
  return at::linalg_eigvalsh(entries)[0].item<double>();
}

// A x = b by Cholesky's factorisation; nothing where A is not positive definite.
std::optional<std::vector<double>> solve(Matrix A, std::vector<double> b) {
  size_t m = b.size();
  for (size_t j = 0; j < m; ++j) {
    for (size_t k = 0; k < j; ++k) A[j][j] -= A[j][k] * A[j][k];
    if (!(A[j][j] > 0)) return std::nullopt;
    A[j][j] = std::sqrt(A[j][j]);
    for (size_t i = j + 1; i < m; ++i) {
      for (size_t k = 0; k < j; ++k) A[i][j] -= A[i][k] * A[j][k];
      A[i][j] /= A[j][j];
    }
  }
  for (size_t i = 0; i < m; ++i) {
    for (size_t k = 0; k < i; ++k) b[i] -= A[i][k] * b[k];
    b[i] /= A[i][i];
  }
  for (size_t i = m; i-- > 0;) {
    for (size_t k = i + 1; k < m; ++k) b[i] -= A[k][i] * b[k];
    b[i] /= A[i][i];
  }
  return b;
}

double model(const Matrix& A, const std::vector<double>& slope, const std::vector<double>& y) {
  double value = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    value += slope[i] * y[i];
    for (size_t j = 0; j < y.size(); ++j) value += y[i] * A[i][j] * y[j] / 2;
  }
  return value;
}

// argmin slope'y + y'A y / 2 over the coordinates in `free`, 0 elsewhere.
std::optional<std::vector<double>> minimize_over(const Matrix& A, const std::vector<double>& slope,
                                                 const std::vector<size_t>& free) {
  Matrix sub(free.size(), std::vector<double>(free.size()));
  std::vector<double> b(free.size());
  for (size_t i = 0; i < free.size(); ++i) {
    b[i] = -slope[free[i]];
    for (size_t j = 0; j < free.size(); ++j) sub[i][j] = A[free[i]][free[j]];
  }
  auto x = solve(std::move(sub), std::move(b));
  if (!x) return std::nullopt;
  std::vector<double> y(slope.size(), 0);
  for (size_t i = 0; i < free.size(); ++i) y[free[i]] = (*x)[i];
  return y;
}

}  // namespace

Tensor SubspaceModel::stack(const std::vector<SubspaceColumn>& columns) {
  std::vector<Tensor> rows;
  for (const auto& column : columns) rows.push_back(column.direction);
  return at::stack(rows).t();
}

SubspaceModel::SubspaceModel(std::vector<SubspaceColumn> columns, const Tensor& gradient,
                             const Tensor& products)
    : columns_(std::move(columns)) {
  Tensor P = stack(columns_);
  describe(gradient, P, VectorSpace(gradient.numel(), gradient.options()).gram(P, products));
}

SubspaceModel SubspaceModel::of_gram(std::vector<SubspaceColumn> columns, const Tensor& gradient,
                                     const Tensor& gram) {
  SubspaceModel model;
  model.columns_ = std::move(columns);
  model.describe(gradient, stack(model.columns_), gram);
  return model;
}

void SubspaceModel::describe(const Tensor& gradient, const Tensor& P, const Tensor& curvature) {
  VectorSpace space(gradient.numel(), gradient.options());
  Matrix gram = to_matrix(space.gram(P, P));
  keep_independent(gram);
  Matrix slopes = to_matrix(space.gram(P, gradient.unsqueeze(1))), B = to_matrix(curvature);
  for (size_t i : kept_) {
    scale_.push_back(1 / std::sqrt(gram[i][i]));
    slope_.push_back(slopes[i][0] * scale_.back());
  }
  curvature_.assign(kept_.size(), std::vector<double>(kept_.size()));
  for (size_t a = 0; a < kept_.size(); ++a)
    for (size_t b = 0; b < kept_.size(); ++b)
      curvature_[a][b] = (B[kept_[a]][kept_[b]] + B[kept_[b]][kept_[a]]) / 2 * scale_[a] * scale_[b];
}

// The pivot of column i is the square of what is left of it, at unit norm, beside the columns kept so far.
// Columns are taken in their order, so that the last of a dependent set is the one to go.
void SubspaceModel::keep_independent(const Matrix& gram) {
  Matrix factor;  // rows of the Cholesky factor of the kept columns
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (!(gram[i][i] > 0) || !std::isfinite(gram[i][i])) continue;
    std::vector<double> row;
    double pivot = 1;
    for (size_t a = 0; a < kept_.size(); ++a) {
      double entry = gram[i][kept_[a]] / std::sqrt(gram[i][i] * gram[kept_[a]][kept_[a]]);
      for (size_t k = 0; k < a; ++k) entry -= row[k] * factor[a][k];
      row.push_back(entry / factor[a][a]);
      pivot -= row.back() * row.back();
    }
    if (pivot < independence) continue;
    row.push_back(std::sqrt(pivot));
    factor.push_back(row);
    kept_.push_back(i);
  }
}

SubspaceStep SubspaceModel::minimize(double delta) const {
  SubspaceStep step;
  step.coefficients.assign(columns_.size(), 0);
  size_t m = kept_.size();
  if (m == 0) return step;
  double lowest = smallest_eigenvalue(curvature_), largest = 0;
  for (size_t i = 0; i < m; ++i) largest = std::max(largest, std::abs(curvature_[i][i]));
  if (largest == 0) largest = 1;
  // Positive definite by at least a share of its scale that rounding leaves alone.
  delta = std::max(delta, 1e-12 * largest - std::min(lowest, 0.0) * (1 + 1e-6));
  Matrix damped = curvature_;
  for (size_t i = 0; i < m; ++i) damped[i][i] += delta;

  // The best of all minima with some constrained coefficients at 0: with so few columns all can be tried.
  std::vector<double> best(m, 0);
  double lowest_value = 0;
  for (size_t zeros = 0; zeros < (size_t{1} << m); ++zeros) {
    std::vector<size_t> free;
    bool allowed = true;
    for (size_t i = 0; i < m; ++i) {
      bool at_zero = zeros >> i & 1;
      if (at_zero && !columns_[kept_[i]].non_negative) allowed = false;
      if (!at_zero) free.push_back(i);
    }
    if (!allowed || free.empty()) continue;
    auto y = minimize_over(damped, slope_, free);
    if (!y) continue;
    for (size_t i = 0; i < m; ++i) allowed = allowed && !(columns_[kept_[i]].non_negative && (*y)[i] < 0);
    double value = model(damped, slope_, *y);
    if (allowed && value < lowest_value) {
      best = *y;
      lowest_value = value;
    }
  }
  step.predicted_change = model(curvature_, slope_, best);
  for (size_t i = 0; i < m; ++i) {
    step.coefficients[kept_[i]] = best[i] * scale_[i];
    step.slope += best[i] * slope_[i];
    Tensor part = columns_[kept_[i]].direction * (best[i] * scale_[i]);
    step.displacement = step.displacement.defined() ? step.displacement + part : part;
  }
  return step;
}

}  // namespace osculant
