#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "osculant/curvature/kronecker_factors.h"
#include "osculant/linop/kronecker.h"

namespace osculant {

struct KfacOptions {
  LayerSampleOptions sample = {};
  WeightSharing sharing = WeightSharing::expand;
  int64_t max_dimension = 4096;  // of a factor; larger ones are split into blocks
};

// K-FAC (Martens & Grosse 2015; Grosse & Martens 2016 for convolutions): the Gauss-Newton or Fisher matrix of
// the data terms at theta, block diagonal over layers, each block a Kronecker product. Exact for deep linear
// networks under mse that share no weights, with ScoreGradients::exact. Whatever it does not tell layer by
// layer is in `untapped`, and has its diagonal, or zeros where `sample.untapped` is false.
//
// Throws Error(usage) for objectives without outputs, models that couple their examples, and losses without
// the gradients asked for; Error(memory) where factors exceed the objective's memory budget.
struct Kfac {
  std::shared_ptr<KroneckerOperator> matrix;
  std::vector<UntappedParameter> untapped;
};
Kfac kfac(const Objective& objective, const KfacOptions& options = {});

// Its eigenvalues corrected in the same eigenbases: EKFAC (George et al. 2018), see EigenvalueSums. The
// matrix is null where a factor's eigenvectors cannot be had.
struct Ekfac {
  std::shared_ptr<KroneckerEigen> matrix;
  std::vector<UntappedParameter> untapped;
};
Ekfac ekfac(const Objective& objective, const KfacOptions& options = {});

// The same at parameters nearby, from the bases of `last`: refreshed by a step of orthogonal iteration on the
// new factors, or kept as they are, which costs no factors.
enum class EkfacBases { refreshed, kept };
Ekfac ekfac(const Objective& objective, const KfacOptions& options, const KroneckerEigen& last,
            EkfacBases bases);

}  // namespace osculant
