#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/directions/cg_preconditioner.h"
#include "osculant/optim/directions/curvature_basis.h"
#include "osculant/optim/options.h"

namespace osculant {

struct HessianFreeOptions {
  CurvatureMatrix curvature = CurvatureMatrix::automatic;  // gauss_newton; hessian for an objective without
                                                           // outputs
  DampingOptions damping = {};                             // lambda
  int64_t cg_iterations = 250;
  double cg_tolerance = 5e-4;  // relative progress of the model an iteration, below which CG stops
  double momentum = 0.95;      // CG starts at this times the last solution
  bool backtrack = true;       // over CG's iterates, then along the step until Armijo's condition holds;
                               // false takes the step when its gain ratio is positive enough
  CgPreconditionerOptions preconditioner = {};
  double curvature_share = 1;     // of the step's batch, for curvature at the start; 1: all of it
  double curvature_growth = 1.5;  // the share times this where the sample proves too small
  void check() const;
};
void visit(OptionVisitor& visitor, HessianFreeOptions& options);

// Hessian-free optimisation (Martens 2010): p from (B + lambda I) p = -g by conjugate gradients, B = G, the
// Gauss-Newton matrix on the step's batch with those regularisers that have one (others enter through g
// alone), or H, the Hessian of the whole objective. CG starts from 0.95 of the last solution (section 4.8),
// stops by Martens' test (section 4.4), and hands its kept iterates to the step rule to backtrack over
// (section 4.6). lambda follows the gain ratio of the undamped model.
//
// Where CG meets d'(B + lambda I)d <= 0, G ends at the iterate before; H goes on along d, with r the residual
// there, by r'd / (abs(d'Hd) + lambda), d'd = 1: the least of the model with abs(d'Hd) in place of d'Hd, as
// the radius at which Steihaug (1983) stops is not given here. The step's note says so.
//
// With curvature_share < 1 the gradient is that of the whole batch, and B that of a part of it (Byrd, Chin,
// Neveitt & Nocedal 2011), so that a product costs that share. CG fits p to the part: with q the undamped
// model, and q' that with B of as many other examples, the share grows where q'(p) - q(p) > abs(q(p)) / 2,
// more than half of what was promised being the sample's own, and where a step is refused. That samples
// grow when their noise exceeds a share of the signal is the rule of Byrd, Chin, Nocedal & Wu (2012).
std::unique_ptr<Direction> hessian_free_direction(const HessianFreeOptions& options,
                                                  const Objective& objective);

}  // namespace osculant
