#include "osculant/linop/operators.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "osculant/base/error.h"

namespace osculant {
namespace {

void require_same(const VectorSpace& a, const VectorSpace& b, const char* what) {
  if (!(a == b))
    fail_usage(
        fmt::format("{}: spaces differ: size {} against {}, or dtype or device", what, a.size(), b.size()));
}

class Dense : public LinearOperator {
 public:
  Dense(Tensor A, bool symmetric, bool psd)
      : LinearOperator({A.size(0), A.options()}, {A.size(1), A.options()}, "dense"),
        A_(std::move(A)),
        symmetric_(symmetric),
        psd_(psd) {}
  bool symmetric() const override { return symmetric_; }
  bool positive_semidefinite() const override { return psd_; }

 protected:
  Tensor apply_block(const Tensor& X) const override { return A_.mm(X); }
  Tensor apply_adjoint_block(const Tensor& Y) const override { return A_.t().mm(Y); }

 private:
  Tensor A_;
  bool symmetric_, psd_;
};

class Diagonal : public LinearOperator {
 public:
  explicit Diagonal(Tensor d)
      : LinearOperator({d.size(0), d.options()}, {d.size(0), d.options()}, "diagonal"),
        d_(d.unsqueeze(1)),
        psd_(d.ge(0).all().item<bool>()) {}
  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return psd_; }

 protected:
  Tensor apply_block(const Tensor& X) const override { return d_ * X; }

 private:
  Tensor d_;
  bool psd_;
};

class LowRank : public LinearOperator {
 public:
  LowRank(Tensor V, Tensor values)
      : LinearOperator({V.size(0), V.options()}, {V.size(0), V.options()}, "low_rank"),
        V_(V),
        values_(values.to(V.options()).unsqueeze(1)),
        psd_(values.ge(0).all().item<bool>()) {}
  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return psd_; }

 protected:
  Tensor apply_block(const Tensor& X) const override { return V_.mm(values_ * V_.t().mm(X)); }

 private:
  Tensor V_, values_;
  bool psd_;
};

class Function : public LinearOperator {
 public:
  Function(const VectorSpace& space, std::function<Tensor(const Tensor&)> f, std::string name, bool symmetric,
           bool psd)
      : LinearOperator(space, space, std::move(name)), f_(std::move(f)), symmetric_(symmetric), psd_(psd) {}
  bool symmetric() const override { return symmetric_; }
  bool positive_semidefinite() const override { return psd_; }

 protected:
  Tensor apply_block(const Tensor& X) const override { return f_(X); }

 private:
  std::function<Tensor(const Tensor&)> f_;
  bool symmetric_, psd_;
};

class Sum : public LinearOperator {
 public:
  Sum(OperatorPtr A, OperatorPtr B) : LinearOperator(A->range(), A->domain(), "sum"), A_(A), B_(B) {
    require_same(A->domain(), B->domain(), "sum");
    require_same(A->range(), B->range(), "sum");
  }
  bool symmetric() const override { return A_->symmetric() && B_->symmetric(); }
  bool positive_semidefinite() const override {
    return A_->positive_semidefinite() && B_->positive_semidefinite();
  }

 protected:
  Tensor apply_block(const Tensor& X) const override { return A_->apply(X) + B_->apply(X); }
  Tensor apply_adjoint_block(const Tensor& Y) const override {
    return A_->apply_adjoint(Y) + B_->apply_adjoint(Y);
  }

 private:
  OperatorPtr A_, B_;
};

class Scaled : public LinearOperator {
 public:
  Scaled(double alpha, OperatorPtr A)
      : LinearOperator(A->range(), A->domain(), "scale"), alpha_(alpha), A_(A) {}
  bool symmetric() const override { return A_->symmetric(); }
  bool positive_semidefinite() const override { return alpha_ >= 0 && A_->positive_semidefinite(); }

 protected:
  Tensor apply_block(const Tensor& X) const override { return A_->apply(X) * alpha_; }
  Tensor apply_adjoint_block(const Tensor& Y) const override { return A_->apply_adjoint(Y) * alpha_; }

 private:
  double alpha_;
  OperatorPtr A_;
};

class Product : public LinearOperator {
 public:
  Product(OperatorPtr A, OperatorPtr B) : LinearOperator(A->range(), B->domain(), "product"), A_(A), B_(B) {
    require_same(A->domain(), B->range(), "product");
  }

 protected:
  Tensor apply_block(const Tensor& X) const override { return A_->apply(B_->apply(X)); }
  Tensor apply_adjoint_block(const Tensor& Y) const override {
    return B_->apply_adjoint(A_->apply_adjoint(Y));
  }

 private:
  OperatorPtr A_, B_;
};

class Adjoint : public LinearOperator {
 public:
  explicit Adjoint(OperatorPtr A) : LinearOperator(A->domain(), A->range(), "adjoint"), A_(A) {}
  bool symmetric() const override { return A_->symmetric(); }
  bool positive_semidefinite() const override { return A_->positive_semidefinite(); }

 protected:
  Tensor apply_block(const Tensor& X) const override { return A_->apply_adjoint(X); }
  Tensor apply_adjoint_block(const Tensor& Y) const override { return A_->apply(Y); }

 private:
  OperatorPtr A_;
};

class Restriction : public LinearOperator {
 public:
  Restriction(OperatorPtr A, Tensor indices)
      : LinearOperator({indices.numel(), A->range().options()}, {indices.numel(), A->domain().options()},
                       A->name() + " restricted"),
        A_(A),
        indices_(indices.to(A->domain().device(), at::kLong)) {}
  bool symmetric() const override { return A_->symmetric(); }
  bool positive_semidefinite() const override { return A_->positive_semidefinite(); }

 protected:
  Tensor apply_block(const Tensor& X) const override {
    Tensor full = A_->domain().zeros(X.size(1)).index_copy(0, indices_, X);
    return A_->apply(full).index_select(0, indices_);
  }
  Tensor apply_adjoint_block(const Tensor& Y) const override {
    Tensor full = A_->range().zeros(Y.size(1)).index_copy(0, indices_, Y);
    return A_->apply_adjoint(full).index_select(0, indices_);
  }

 private:
  OperatorPtr A_;
  Tensor indices_;
};

}  // namespace

OperatorPtr dense_operator(Tensor A, bool symmetric, bool positive_semidefinite) {
  return std::make_shared<Dense>(std::move(A), symmetric, positive_semidefinite);
}
OperatorPtr diagonal_operator(Tensor d) {
  return std::make_shared<Diagonal>(std::move(d));
}
OperatorPtr identity_operator(const VectorSpace& space, double scale) {
  return function_operator(
      space, [scale](const Tensor& X) { return X * scale; }, "identity", true, scale >= 0);
}
OperatorPtr low_rank_operator(Tensor V, Tensor values) {
  return std::make_shared<LowRank>(std::move(V), std::move(values));
}
OperatorPtr sum(OperatorPtr A, OperatorPtr B) {
  return std::make_shared<Sum>(std::move(A), std::move(B));
}
OperatorPtr scale(double alpha, OperatorPtr A) {
  return std::make_shared<Scaled>(alpha, std::move(A));
}
OperatorPtr shift(OperatorPtr A, double sigma) {
  auto space = A->domain();
  return sum(std::move(A), identity_operator(space, sigma));
}
OperatorPtr product(OperatorPtr A, OperatorPtr B) {
  return std::make_shared<Product>(std::move(A), std::move(B));
}
OperatorPtr adjoint(OperatorPtr A) {
  return std::make_shared<Adjoint>(std::move(A));
}
OperatorPtr restriction(OperatorPtr A, Tensor indices) {
  return std::make_shared<Restriction>(std::move(A), std::move(indices));
}
OperatorPtr function_operator(const VectorSpace& space, std::function<Tensor(const Tensor&)> f,
                              std::string name, bool symmetric, bool positive_semidefinite) {
  return std::make_shared<Function>(space, std::move(f), std::move(name), symmetric, positive_semidefinite);
}

}  // namespace osculant
