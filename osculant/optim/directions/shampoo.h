#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

// Whose length a layer's step has.
enum class Graft {
  none,  // its own
  sgd,   // the mean gradient's
  adam,  // Adam's step's
};

struct ShampooOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double ridge = 1e-6;
  Graft graft = Graft::adam;
  double epsilon = 1e-8;
  double weight_decay = 0;
  int64_t interval = 10;
  int64_t max_dimension = 2048;
  void check() const;
};
void visit(OptionVisitor& visitor, ShampooOptions& options);

// Shampoo (Gupta, Koren & Singer 2018): of a layer's mean gradient M, a convolution's kernel as [out, in kh
// kw], L^(-1/4) M R^(-1/4), with L and R the means of G G' and G'G; one-sided, L^(-1/2) M, for biases and for
// matrices one side of which is larger than `max_dimension`. The step is as long as the graft's (Agarwal et
// al. 2020). Means are corrected for their start from 0 (Shi et al. 2023); a ridge, a share of the largest
// eigenvalue, is added to all (Anil et al. 2020). Roots are refreshed every `interval` steps; where LAPACK
// fails the last ones are kept, and the record says so.
std::unique_ptr<Direction> shampoo_direction(const ShampooOptions& options);

}  // namespace osculant
