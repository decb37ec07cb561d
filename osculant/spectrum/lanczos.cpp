#include "osculant/spectrum/lanczos.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/memory.h"
#include "osculant/linop/orthonormalize.h"

namespace osculant {

Lanczos::Lanczos(const LinearOperator& A, LanczosSettings settings, RandomStream& random)
    : A_(A), space_(A.domain()), settings_(settings), random_(random) {
  basis_ = at::empty({settings_.capacity + 1, space_.local_size()}, space_.options());
  if (basis_.is_cpu()) prefer_large_pages(basis_.mutable_data_ptr(), static_cast<int64_t>(basis_.nbytes()));
}

void Lanczos::reset(const Tensor& deflated) {
  deflated_ = deflated.defined() && deflated.size(1) > 0 ? deflated.t() : Tensor();
  alpha_.clear(), beta_.clear(), arrow_.clear(), omega_.clear(), before_.clear();
  size_ = kept_ = steps_ = 0;
  first_cycle_ = {};
  in_first_cycle_ = true;
  removed_.clear();
  next_norm_ = defect_ = 0;
  again_ = exhausted_ = closed_ = false;
}

bool Lanczos::start(const Tensor& deflated) {
  reset(deflated);
  return draw(0);
}

bool Lanczos::start_from(const Tensor& v, const Tensor& deflated) {
  reset(deflated);
  double whole = space_.norm(v), norm = 1;
  if (!(whole > 0)) return false;
  basis_[0].copy_(v).div_(whole);
  for (int pass = 0; pass < 3; ++pass) {
    double left = orthogonalise(0, 0, 0);
    norm *= left;
    if (norm <= 10 * space_.epsilon()) return false;
    basis_[0].div_(left);
  }
  return true;
}

// A random unit vector orthogonal to the deflated ones and to the rows before it. False where the space is
// full.
bool Lanczos::draw(int64_t row) {
  int64_t taken = row + (deflated_.defined() ? deflated_.size(0) : 0);
  if (taken >= space_.size()) return false;
  basis_[row].copy_(space_.normal(random_, 1).select(1, 0));
  basis_[row].div_(space_.norm(basis_[row]));
  for (int pass = 0; pass < 3; ++pass) basis_[row].div_(orthogonalise(row, 0, row));
  return true;
}

// One pass of Gram-Schmidt of a row against the deflated vectors and the rows [begin, end); its norm
// afterwards.
double Lanczos::orthogonalise(int64_t row, int64_t begin, int64_t end, Tensor* removed) {
  Tensor w = basis_[row];
  std::vector<Tensor> blocks;  // [n, .], with their coefficients in one reduction
  if (deflated_.defined()) blocks.push_back(deflated_.t());
  if (end > begin) blocks.push_back(rows(begin, end - begin).t());
  auto c = blocks.empty() ? blocks : space_.coefficients(blocks, w);
  for (size_t i = 0; i < blocks.size(); ++i) w.addmv_(blocks[i], c[i], /*beta=*/1, /*alpha=*/-1);
  if (removed && end > begin) removed->narrow(0, begin, end - begin).add_(c.back().to(at::kCPU, at::kDouble));
  rows_reorthogonalised_ += end - begin;
  return space_.norm(w);
}

bool Lanczos::extend() {
  int64_t j = size_;
  Tensor w = basis_[j + 1];
  double norm = recur(j, A_.apply(basis_[j]));
  if (!std::isfinite(norm) || !std::isfinite(alpha_[j])) {
    alpha_.resize(j);
    return false;
  }
  ++steps_;
  double before = j > 0 && j != kept_ ? beta_[j - 1] : 0;
  scale_ = std::max(scale_, std::abs(alpha_[j]) + before + norm);
  estimate_orthogonality(j, norm);
  norm = keep_orthogonal(j, norm);
  size_ = j + 1;
  double negligible = 10 * space_.epsilon() * scale_;
  if (in_first_cycle_) {
    first_cycle_.diagonal.push_back(alpha_[j]);
    first_cycle_.off_diagonal.push_back(std::max(norm, negligible));
    closed_ = norm <= negligible;
    in_first_cycle_ = !closed_;
  }
  if (norm > negligible) {
    w.div_(norm);
  } else {  // an invariant subspace: go on from a fresh vector, uncoupled
    norm = 0;
    exhausted_ = !draw(j + 1);
    std::fill(omega_.begin(), omega_.end(), space_.epsilon());
  }
  next_norm_ = norm;
  beta_.resize(j + 1);
  beta_[j] = norm;
  return true;
}

// w = A v_j - (the coupling to the vectors before) - alpha_j v_j, with alpha_j = v_j'w (Paige 1972). Returns
// its norm.
double Lanczos::recur(int64_t j, const Tensor& product) {
  Tensor w = basis_[j + 1], v = basis_[j];
  alpha_.resize(j + 1);
  if (j == kept_ && kept_ > 0) {
    Tensor arrow = at::tensor(arrow_, at::kDouble).to(space_.options());
    at::addmv_out(w, product, rows(0, kept_).t(), arrow, /*beta=*/1, /*alpha=*/-1);
    alpha_[j] = space_.dot(v, w);
  } else if (j > 0) {
    alpha_[j] = space_.subtract_and_dot(w, product, beta_[j - 1], basis_[j - 1], v);
  } else {
    w.copy_(product);
    alpha_[j] = space_.dot(v, w);
  }
  double square = space_.subtract_and_dot(w, w, alpha_[j], v, w);
  if (!deflated_.defined()) return std::sqrt(square);
  w.addmv_(deflated_.t(), space_.coefficients(deflated_.t(), w), /*beta=*/1, /*alpha=*/-1);
  return space_.norm(w);
}

// The omega recurrence (Simon 1984, eq. 5): with A V = V T + beta v e' on both sides,
//
//   beta_j omega_{j+1,i} = (T omega_j)_i + [rest of column i] - alpha_j omega_{j,i} - beta_{j-1}
//   omega_{j-1,i} + rounding.
//
// On entry omega_[i] = v_i'v_j for i < j; on return v_i'v_{j+1} for i <= j.
void Lanczos::estimate_orthogonality(int64_t j, double norm) {
  double u = space_.epsilon();
  if (settings_.full || j == kept_ || norm <= u * scale_) {
    before_ = omega_;
    omega_.assign(j + 1, 1);  // unknown: keep_orthogonal makes it so
    return;
  }
  std::vector<double> next(j + 1, u);
  std::vector<double> current(omega_.begin(), omega_.begin() + j),
      previous(before_.begin(), before_.begin() + (j - 1));
  current.push_back(1);
  previous.push_back(1);
  for (int64_t i = 0; i < j; ++i) {
    double sum = (alpha_[i] - alpha_[j]) * current[i] - beta_[j - 1] * previous[i];
    if (i < kept_) {
      sum += arrow_[i] * current[kept_];
    } else {
      sum += beta_[i] * current[i + 1];
      if (i > kept_) sum += beta_[i - 1] * current[i - 1];
      if (i == kept_)
        for (int64_t m = 0; m < kept_; ++m) sum += arrow_[m] * current[m];
    }
    double rounding =
        i < kept_ ? u * scale_ + defect_ : u * (std::abs(alpha_[i]) + std::abs(alpha_[j]) + beta_[i] + norm);
    next[i] = (sum + std::copysign(rounding, sum)) / norm;
  }
  before_ = std::move(omega_);
  omega_ = std::move(next);
}

// Reorthogonalises v_{j+1} where the estimate has passed the limit, and the vector after it too, since the
// recurrence feeds on both: against the stretch of vectors where it has passed u^(3/4), which keeps the rest
// below the limit for long (Simon 1984). Returns the norm of w. What is removed from A v_j stays out of T.
double Lanczos::keep_orthogonal(int64_t j, double norm) {
  auto above = [&](double limit) { return [limit](double omega) { return std::abs(omega) > limit; }; };
  bool lost = std::any_of(omega_.begin(), omega_.end(), above(settings_.orthogonality));
  if (!lost && !again_) return norm;
  double stretch_limit = std::min(settings_.orthogonality, std::pow(space_.epsilon(), 0.75));
  auto stretched = above(stretch_limit);
  auto first = std::find_if(omega_.begin(), omega_.end(), stretched);
  auto last = std::find_if(omega_.rbegin(), omega_.rend(), stretched);
  int64_t begin = first - omega_.begin(), end = omega_.rend() - last;
  if (again_) {
    begin = std::min(begin, stretch_begin_);
    end = std::max(end, stretch_end_);
  }
  stretch_begin_ = begin;
  stretch_end_ = end;
  again_ = lost && !settings_.full;
  Tensor removed = at::zeros({j + 1}, at::kDouble);
  // V'V is I to the limit only: of what a pass removes, that share comes back.
  double kept_back = 0;
  for (int pass = 0; pass < 3; ++pass) {
    double before = norm;
    Tensor coefficients = at::zeros({j + 1}, at::kDouble);
    norm = orthogonalise(j + 1, begin, end, &coefficients);
    removed += coefficients;
    kept_back = settings_.orthogonality * coefficients.norm().item<double>() / norm;
    // Nothing cancelled (Daniel et al. 1976), and nothing to speak of is left.
    if (norm > 0.7 * before && kept_back <= stretch_limit) break;
    begin = 0;
    end = j + 1;
  }
  removed_.emplace_back(j, removed);
  for (auto& omega : omega_) omega += std::copysign(kept_back, omega);
  std::fill(omega_.begin() + begin, omega_.begin() + end, space_.epsilon() + kept_back);
  return norm;
}

Tensor Lanczos::projected() const {
  Tensor T = at::zeros({size_, size_}, at::kDouble);
  auto t = T.accessor<double, 2>();
  for (int64_t i = 0; i < size_; ++i) {
    t[i][i] = alpha_[i];
    if (i < kept_ && kept_ < size_) t[i][kept_] = t[kept_][i] = arrow_[i];
    if (i >= kept_ && i + 1 < size_) t[i][i + 1] = t[i + 1][i] = beta_[i];
  }
  return T;
}

Tensor Lanczos::coupling() const {
  Tensor C = at::zeros({1, size_}, at::kDouble);
  if (size_ > 0) C[0][size_ - 1] = next_norm_;
  return C;
}

Tensor Lanczos::combine(const Tensor& S) const {
  return at::mm(S.to(space_.options()).t(), rows(0, size_)).t();
}

// With C the coefficients that reorthogonalisation removed, A V = V (T + C) + beta v e'.
Tensor Lanczos::removed_coefficients() const {
  Tensor C = at::zeros({size_, size_}, at::kDouble);
  for (auto& [j, c] : removed_) C.select(1, j).narrow(0, 0, j + 1).add_(c);
  return C;
}

Tensor Lanczos::known_product(const Tensor& S) const {
  Tensor coefficients = at::cat({(projected() + removed_coefficients()).mm(S), coupling().mm(S)});
  return at::mm(coefficients.to(space_.options()).t(), rows(0, size_ + 1)).t();
}

// The Ritz vectors inherit the basis's loss of orthogonality; one Cholesky mends it before it adds up.
void Lanczos::orthonormalise_kept() {
  Tensor V = rows(0, kept_).t();
  Tensor gram = space_.gram(V, V);
  auto [L, info] = at::linalg_cholesky_ex((gram + gram.t()) / 2);
  if (info.item<int>() == 0) combine_columns_in_place(V, at::linalg_inv(L).t());
}

// V S obeys its new recurrence but for V C S. What of that lies in the span of V S meets vectors orthogonal
// to it and is harmless; the rest points at vectors now given up, which come back, and the estimate has to
// know its size.
double Lanczos::defect_outside(const Tensor& S) const {
  Tensor CS = removed_coefficients().mm(S);
  return (CS - S.mm(S.t().mm(CS))).norm(2, {0}).max().item<double>();
}

void Lanczos::restart(const Tensor& S, const Tensor& values) {
  Tensor last = S[size_ - 1] * next_norm_;
  defect_ += defect_outside(S);
  removed_.clear();
  in_first_cycle_ = false;
  combine_columns_in_place(basis(), S);
  basis_[S.size(1)].copy_(basis_[size_]);
  size_ = kept_ = S.size(1);
  orthonormalise_kept();
  alpha_.assign(values.data_ptr<double>(), values.data_ptr<double>() + kept_);
  arrow_.assign(last.data_ptr<double>(), last.data_ptr<double>() + kept_);
  beta_.assign(kept_, 0);
  basis_[kept_].div_(orthogonalise(kept_, 0, kept_));
  omega_.assign(kept_, space_.epsilon());
  before_ = omega_;
  again_ = false;
}

}  // namespace osculant
