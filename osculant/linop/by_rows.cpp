#include "osculant/linop/by_rows.h"

#include <utility>

#include "osculant/base/error.h"

namespace osculant {
namespace {

class ByRows : public LinearOperator {
 public:
  ByRows(OperatorPtr A, const Communicator& processes)
      : LinearOperator(A->range().dealt_to(processes), A->domain().dealt_to(processes), A->name()), A_(A) {}
  bool symmetric() const override { return A_->symmetric(); }
  bool positive_semidefinite() const override { return A_->positive_semidefinite(); }

 protected:
  Tensor apply_block(const Tensor& X) const override {
    return range().rows_of(A_->apply(domain().gather(X)));
  }
  Tensor apply_adjoint_block(const Tensor& Y) const override {
    return domain().rows_of(A_->apply_adjoint(range().gather(Y)));
  }

 private:
  OperatorPtr A_;
};

}  // namespace

OperatorPtr by_rows(OperatorPtr A, const Communicator& processes) {
  if (processes.alone()) return A;
  if (A->domain().dealt()) fail(ErrorKind::internal, "by_rows: the rows are dealt out already");
  return std::make_shared<ByRows>(std::move(A), processes);
}

}  // namespace osculant
