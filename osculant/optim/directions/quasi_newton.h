#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/line_search.h"
#include "osculant/optim/options.h"

namespace osculant {

struct QuasiNewtonOptions {
  double initial_scale = 0;  // H_0 = this times I; 0: from the first pair
  StrongWolfeOptions line_search = {};
  void check() const;
};

// DFP recovers slowly from a poor H unless the line searches are close to exact (Nocedal & Wright 2006,
// section 6.1).
struct DfpOptions {
  QuasiNewtonOptions common = {.line_search = {.curvature = 0.1}};
  void check() const { common.check(); }
};

struct BroydenOptions {
  double phi = 0.5;  // in [0, 1]: B+ = (1 - phi) BFGS + phi DFP
  QuasiNewtonOptions common = {};
  void check() const;
};

struct Sr1Options {
  double skip = 1e-8;  // r: no update where abs(d'y) < r norm(d) norm(y), d = s - Hy
  QuasiNewtonOptions common = {};
  void check() const;
};

void visit(OptionVisitor& v, QuasiNewtonOptions& o);
void visit(OptionVisitor& v, DfpOptions& o);
void visit(OptionVisitor& v, BroydenOptions& o);
void visit(OptionVisitor& v, Sr1Options& o);

// p = -H g with a dense H, the approximation of the inverse Hessian that has learned from every pair (s, y)
// of a step and the gradient's change along it: H+ y = s.
//
// The Broyden class, with u = Hy, B = H^-1, b = s'Bs / s'y, h = y'Hy / s'y, a = b h - 1 and a scaling tau:
//   H+ = (H - u u'/(y'u) + (1 - phi)/(1 + a phi) (y'u) v v') / tau + s s'/(s'y),    v = s/(s'y) - u/(y'u)
// (Broyden 1970; Nocedal & Wright 2006, section 6.3; tau: Oren & Luenberger 1974)
//   bfgs       phi = 0, tau = 1
//   dfp        phi = 1, tau = 1
//   broyden    phi as told, tau = 1
//   ssbroyden  phi and tau by Al-Baali (1998), as Urban, Stefanou & Pons (2025) train physics-informed
//              networks
// A pair without curvature, s'y <= u norm(s) norm(y), is left out. A direction that does not descend, and a
// failed line search, drop H and start again from the gradient. Both are said in the step's note.
//
//   sr1        H+ = H + d d'/(d'y), d = s - Hy (Davidon 1959), left out where abs(d'y) < r norm(d) norm(y).
//              H may be indefinite, as the Hessian may (Conn, Gould & Toint 1991); where -H g does not
//              descend the step goes along the gradient, says so, and H learns from it as from any other.
//
// H_0 = s'y / y'y of the first pair (Nocedal & Wright, 6.20), half of it for sr1, whose correction it would
// make singular; before, a step along the gradient of norm at most 1. H is float64 [n, n] whatever the dtype
// of theta; a step reads it twice and writes it once. Error(memory) for n > largest_dense_inverse.
inline constexpr int64_t largest_dense_inverse = 10000;
std::unique_ptr<Direction> bfgs_direction(const QuasiNewtonOptions& options, int64_t n);
std::unique_ptr<Direction> dfp_direction(const DfpOptions& options, int64_t n);
std::unique_ptr<Direction> broyden_direction(const BroydenOptions& options, int64_t n);
std::unique_ptr<Direction> ssbroyden_direction(const QuasiNewtonOptions& options, int64_t n);
std::unique_ptr<Direction> sr1_direction(const Sr1Options& options, int64_t n);

}  // namespace osculant
