#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "osculant/comm/communicator.h"
#include "osculant/linop/block_diagonal.h"
#include "osculant/linop/linear_operator.h"

namespace osculant {

// Where matrices M [groups, rows, columns] lie in a vector of R^n: one after another, row by row.
struct MatrixPlace {
  int64_t offset = 0;
  int64_t groups = 1, rows = 1, columns = 1;
  bool transposed = false;                  // column by column
  std::optional<int64_t> last_column = {};  // a layer's bias: where it lies, [groups, rows], if apart

  int64_t size() const { return groups * rows * columns; }
  Tensor of(const Tensor& x) const;            // [..., n] -> [..., groups, rows, columns]
  void put(const Tensor& M, Tensor& x) const;  // the same, back
};

// A (x) G on vec(M), M -> G M A: the Kronecker product that a layer's curvature is taken for (Martens &
// Grosse 2015), one for each group.
struct KroneckerBlock {
  std::string name;  // "features.0.weight"
  MatrixPlace place;
  BlockDiagonal outputs;  // G, symmetric, of `rows`
  BlockDiagonal inputs;   // A, symmetric, of `columns`
};

// diag(A_1 (x) G_1, A_2 (x) G_2, ...) on places that do not overlap, and `elsewhere` times what lies in none.
class KroneckerOperator : public LinearOperator {
 public:
  KroneckerOperator(const VectorSpace& space, std::vector<KroneckerBlock> blocks, double elsewhere = 0,
                    std::string name = "kronecker");

  const std::vector<KroneckerBlock>& blocks() const { return blocks_; }
  double trace() const;
  double norm() const;  // of Frobenius

  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return true; }  // as the factors are

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  std::vector<KroneckerBlock> blocks_;
  double elsewhere_;
  int64_t others_;  // entries in no place
};

// Of one block with lambda > 0 spread over its factors (Martens & Grosse 2015, section 6.3):
//
//   (A + pi sqrt(lambda) I)^-1 (x) (G + sqrt(lambda) / pi I)^-1,  pi^2 = (tr A / dim A) / (tr G / dim G)
//
// Nothing where a factor has an eigenvalue too far below 0, or a number that is not finite.
std::optional<KroneckerBlock> factored_inverse(const KroneckerBlock& block, double lambda);
// Of all of them, and 1 / lambda elsewhere; null where one fails.
std::shared_ptr<KroneckerOperator> factored_inverse(const KroneckerOperator& F, double lambda);
// What the inverse, or the eigenvectors, of a block cost: the sum of d^3 over its dense matrices.
double decomposition_cost(const KroneckerBlock& block);
// The matrices of outputs and inputs, flat, and back to blocks like those of another.
std::vector<Tensor> matrices_of(const KroneckerBlock& block);
KroneckerBlock with_matrices(const KroneckerBlock& like, const std::vector<Tensor>& matrices);

// Q_A (x) Q_G diag(values) (Q_A (x) Q_G)': in a layer's eigenbases, M -> Q_G (values * (Q_G' M Q_A)) Q_A'.
struct EigenBlock {
  std::string name;
  MatrixPlace place;
  BlockDiagonal outputs;  // Q_G
  BlockDiagonal inputs;   // Q_A
  Tensor values;          // [groups, rows, columns]

  Tensor into_bases(const Tensor& M) const { return inputs.right(outputs.left(M, true)); }
  Tensor out_of_bases(const Tensor& M) const { return inputs.right(outputs.left(M), true); }
};

// A block's eigenvectors and eigenvalues, those below 0 by rounding as 0.
std::optional<EigenBlock> eigen_block(const KroneckerBlock& block);
// Of several, each by one of the processes.
std::optional<std::vector<EigenBlock>> eigen_blocks(const std::vector<KroneckerBlock>& blocks,
                                                    const Communicator& processes = serial_communicator());
// From those it had before it changed a little: see refresh_eigenpairs. Values of `last` go with the columns
// they belong to, and are kept: those of EKFAC are not the factors'.
std::optional<EigenBlock> refreshed(const EigenBlock& last, const KroneckerBlock& block);
std::optional<std::vector<EigenBlock>> refreshed(const std::vector<EigenBlock>& last,
                                                 const std::vector<KroneckerBlock>& blocks,
                                                 const Communicator& processes = serial_communicator());

// Blocks in their eigenbases: whatever is a function of the matrix. What lies in no block has the
// eigenvalue 0.
class KroneckerEigen : public LinearOperator {
 public:
  KroneckerEigen(const VectorSpace& space, std::vector<EigenBlock> blocks, double elsewhere = 0,
                 std::string name = "kronecker_eigen");

  const std::vector<EigenBlock>& blocks() const { return blocks_; }
  double trace() const;
  double norm() const;                          // of Frobenius
  double log_determinant(double lambda) const;  // log det(F + lambda I)

  // f(F), f from eigenvalues to eigenvalues, entry by entry.
  std::shared_ptr<KroneckerEigen> function(const std::function<Tensor(const Tensor&)>& f) const;
  std::shared_ptr<KroneckerEigen> inverse(double lambda) const;       // (F + lambda I)^-1
  std::shared_ptr<KroneckerEigen> inverse_root(double lambda) const;  // (F + lambda I)^(-1/2)

  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return true; }  // as the values are

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  double sum(const std::function<Tensor(const Tensor&)>& f) const;  // over eigenvalues in float64

  std::vector<EigenBlock> blocks_;
  double elsewhere_;
  int64_t others_;
};

// Null where a decomposition fails.
std::shared_ptr<KroneckerEigen> eigen_decomposition(const KroneckerOperator& F,
                                                    const Communicator& processes = serial_communicator());

}  // namespace osculant
