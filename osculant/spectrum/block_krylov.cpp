#include "osculant/spectrum/block_krylov.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/memory.h"
#include "osculant/linop/orthonormalize.h"

namespace osculant {

BlockKrylov::BlockKrylov(const LinearOperator& A, int64_t capacity, RandomStream& random)
    : A_(A), space_(A.domain()), capacity_(capacity), random_(random) {
  basis_ = at::empty({capacity, space_.local_size()}, space_.options());
  if (basis_.is_cpu()) prefer_large_pages(basis_.mutable_data_ptr(), static_cast<int64_t>(basis_.nbytes()));
  projection_ = at::zeros({capacity, capacity}, at::kDouble);
}

bool BlockKrylov::start(const Tensor& X) {
  Orthonormal start = orthonormalize(space_, X);
  size_ = 0;
  count_ = std::min(start.rank, capacity_);
  projection_.zero_();
  scale_ = 0;
  exhausted_ = false;
  basis_.narrow(0, 0, count_).copy_(start.Q.narrow(1, 0, count_).t());
  return count_ > 0;
}

bool BlockKrylov::extend() {
  Tensor w = A_.apply(basis_[size_]);
  double norm = space_.norm(w);
  if (!std::isfinite(norm)) return false;
  scale_ = std::max(scale_, norm);
  Tensor V = basis_.narrow(0, 0, count_), h = at::zeros({count_}, at::kDouble);
  for (int pass = 0; pass < 3; ++pass) {
    double before = norm;
    Tensor c = space_.coefficients(V.t(), w);
    w = at::addmv(w, V.t(), c, /*beta=*/1, /*alpha=*/-1);
    h.add_(c.to(at::kCPU, at::kDouble));
    norm = space_.norm(w);
    if (pass > 0 && norm > 0.7 * before) break;  // nothing cancelled (Daniel et al. 1976)
  }
  projection_.select(1, size_).narrow(0, 0, count_).copy_(h);
  // W keeps its width, less the directions in which the space is closed.
  if (norm > 10 * space_.epsilon() * scale_ && count_ < capacity_) {
    basis_[count_].copy_(w.div_(norm));
    projection_[count_][size_] = norm;
    ++count_;
  }
  ++size_;
  keep_open();
  return true;
}

// A random vector, uncoupled, where W is empty and there is room.
void BlockKrylov::keep_open() {
  if (size_ < count_) return;
  exhausted_ = count_ >= space_.size();
  if (exhausted_ || full()) return;
  Tensor V = basis_.narrow(0, 0, count_), w = basis_[count_];
  w.copy_(space_.normal(random_, 1).select(1, 0));
  for (int pass = 0; pass < 3; ++pass) {
    w.div_(space_.norm(w));
    w.addmv_(V.t(), space_.coefficients(V.t(), w), /*beta=*/1, /*alpha=*/-1);
  }
  w.div_(space_.norm(w));
  ++count_;
}

void BlockKrylov::aim(const Tensor& S) {
  int64_t width = count_ - size_;
  if (width < 2) return;
  Tensor turn = std::get<0>(at::linalg_qr(coupling().mm(S), "complete")).t();
  Tensor W = basis_.narrow(0, size_, width), C = coupling();
  W.copy_(turn.to(space_.options()).mm(W));
  C.copy_(turn.mm(C));
}

Tensor BlockKrylov::projected() const {
  Tensor T = projection_.narrow(0, 0, size_).narrow(1, 0, size_);
  return (T + T.t()) / 2;
}

Tensor BlockKrylov::coupling() const {
  return projection_.narrow(0, size_, count_ - size_).narrow(1, 0, size_);
}

Tensor BlockKrylov::combine(const Tensor& S) const {
  return at::mm(S.to(space_.options()).t(), basis_.narrow(0, 0, size_)).t();
}

Tensor BlockKrylov::known_product(const Tensor& S) const {
  Tensor coefficients = projection_.narrow(0, 0, count_).narrow(1, 0, size_).mm(S);
  return at::mm(coefficients.to(space_.options()).t(), basis_.narrow(0, 0, count_)).t();
}

void BlockKrylov::restart(const Tensor& S, const Tensor& values) {
  int64_t kept = S.size(1), width = count_ - size_;
  Tensor C = coupling().mm(S);
  Tensor W = basis_.narrow(0, size_, width).clone();
  combine_columns_in_place(basis_.narrow(0, 0, size_).t(), S);
  basis_.narrow(0, kept, width).copy_(W);
  projection_.zero_();
  projection_.narrow(0, 0, kept).narrow(1, 0, kept).copy_(at::diag(values));
  projection_.narrow(0, kept, width).narrow(1, 0, kept).copy_(C);
  size_ = kept;
  count_ = kept + width;
  keep_open();
}

}  // namespace osculant
