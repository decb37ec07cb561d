#pragma once

#include "osculant/optim/direction.h"

namespace osculant {

// Estimates, without bias, of the diagonal of a curvature matrix of the step's batch, [n].

// H: the mean over `probes` of v (H v), entry by entry, v random signs (Hutchinson 1990; Bekas, Kokiopoulou &
// Saad 2007). Needs Needs::hessian.
Tensor hutchinson_diagonal(const StepContext& context, int64_t probes);

// G, without regularisers: B g^2, g the mean gradient of B examples at targets drawn from the network's own
// distribution (Liu et al. 2023, algorithm 2, after Bartlett's identities). A forward pass and a gradient,
// which leave buffers and dropout as they were.
Tensor gauss_newton_bartlett_diagonal(const StepContext& context);
// Throws Error(usage) where it is not to be had: it needs one data term, whose loss is a negative log
// likelihood of its targets. `what` begins the message.
void require_gauss_newton_bartlett(const Objective& objective, const std::string& what);

}  // namespace osculant
