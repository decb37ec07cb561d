#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/line_search.h"
#include "osculant/optim/options.h"

namespace osculant {

struct Lsr1Options {
  int64_t memory = 10;  // pairs (s, y) kept
  double skip = 1e-8;   // r: a pair corrects nothing where abs(d'y) < r norm(d) norm(y), d = s - Hy
  StrongWolfeOptions line_search = {};
  void check() const;
};
void visit(OptionVisitor& v, Lsr1Options& o);

// -abs(H) g with H the limited-memory SR1 matrix of the last pairs, H_0 = gamma I, gamma = abs(s'y) / (2 y'y)
// of the last of them. In the compact form (Byrd, Nocedal & Schnabel 1994, section 5)
//   H = gamma I + Psi M Psi',  Psi = S - gamma Y,
// whose eigenvalues come from matrices of memory's size (Brust, Erway & Marcia 2017). H follows the Hessian
// where that is indefinite, and then -H g need not descend; the absolute values of its eigenvalues do, and
// leave a saddle along negative curvature (Dauphin et al. 2014). The step's note says when there were any.
// A line search that fails empties the memory.
std::unique_ptr<Direction> lsr1_direction(const Lsr1Options& options);

}  // namespace osculant
