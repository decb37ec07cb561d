#pragma once

#include "osculant/comm/communicator.h"
#include "osculant/linop/linear_operator.h"

namespace osculant {

// A operator on whole vectors as one on vectors whose rows are dealt out to the processes
// (VectorSpace::dealt_to): a product gathers the vector, multiplies as before, and keeps the rows of the
// result that belong here. A Krylov basis then takes n / R numbers a vector on each of R processes, while a
// product has two whole vectors on the way. Every process must have A and multiply by it at the same time.
// A itself where there is one process.
OperatorPtr by_rows(OperatorPtr A, const Communicator& processes);

}  // namespace osculant
