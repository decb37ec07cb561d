#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "osculant/optim/direction.h"
#include "osculant/optim/directions/matrix_precision.h"
#include "osculant/optim/options.h"

namespace osculant {

struct SoapOptions {
  double learning_rate = 3e-3;
  double beta1 = 0.95;
  double beta2 = 0.95;
  std::optional<double> factor_beta = {};  // beta2
  double epsilon = 1e-8;
  double weight_decay = 1e-2;
  int64_t interval = 10;
  int64_t max_dimension = 10000;
  MatrixPrecision precision = MatrixPrecision::automatic;  // of products with gradients and bases
  void check() const;
};
void visit(OptionVisitor& visitor, SoapOptions& options);

// SOAP (Vyas et al. 2024): Adam in the eigenbases of Shampoo's factors. A layer's gradient G [rows, columns],
// a convolution's kernel as [out, in kh kw], is seen as Q_L' G Q_R, with Q_L and Q_R eigenvectors of the
// means of G G' and G'G; those of the first gradient by eigh, later ones by a power step and QR every
// `interval` steps. A side with more than `max_dimension` rows keeps the identity; biases get Adam. As the
// authors' code does, the first gradient makes bases and no step. The bases themselves, and moments, are in
// theta's dtype whatever the precision of products.
std::unique_ptr<Direction> soap_direction(const SoapOptions& options);

}  // namespace osculant
