#pragma once

#include <cstdint>

#include "osculant/objective/objective.h"

namespace osculant {

// The most that the rank of the Gauss-Newton matrix G = J' (d2 l / dz2) J can be: the rows of J over all
// examples, N K for outputs of K entries, and N (K - 1) for cross entropy, whose second derivative vanishes
// along (1, ..., 1) of each position; never more than n. One forward pass over one batch of each term, from
// which the entries of an example are counted; n where a term has no outputs.
int64_t gauss_newton_rank_bound(const Objective& objective);

}  // namespace osculant
