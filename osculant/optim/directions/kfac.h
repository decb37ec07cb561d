#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "osculant/curvature/kfac_choices.h"
#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct KfacMethodOptions {
  std::optional<double> learning_rate = {};  // eta; by the quadratic model where there is none
  double momentum = 0.9;                     // of the last step, with a learning rate given
  DampingOptions damping = {.minimum =
                                1e-4};  // lambda: on batches its gain ratio flatters, and it would vanish
  ScoreGradients gradients = ScoreGradients::automatic;
  WeightSharing sharing = WeightSharing::expand;
  double factor_decay = 0.95;   // of the means of A and G, 1 - 1/k until then
  double factor_share = 1;      // of the step's batch, for factors
  int64_t factor_interval = 1;  // steps between updates of the factors
  // A of a layer that sees the data alone is its mean over so many epochs, and then kept; 0: a moving mean.
  double data_epochs = 1;
  // Steps between refreshes of inverses or eigenbases; 0: as often as costs little beside a step, see below.
  int64_t inverse_interval = 0;
  double model_share = 1;  // of the step's batch, for the quadratic model
  // On mini-batches a step by the model is no longer than this times max(1, norm(theta)); 0: as long as it
  // is.
  double max_relative_step = 0.1;
  int64_t max_dimension = 4096;
  void check() const;
};
struct EkfacMethodOptions : KfacMethodOptions {};
void visit(OptionVisitor& visitor, KfacMethodOptions& options);
void visit(OptionVisitor& visitor, EkfacMethodOptions& options);

// K-FAC (Martens & Grosse 2015): d = -(F + lambda I)^-1 g, F the Kronecker products of moving averages of the
// layers' factors, lambda spread over them (section 6.3); then the step a d + b s, s the last step, that is
// least in the quadratic model with the Gauss-Newton matrix G itself and lambda (section 7):
//
//   g'p + p'(G + lambda I)p / 2,  p = a d + b s
//
// lambda follows the gain ratio of the undamped model. With a learning rate given p = eta d + momentum s.
//
// Where the gradient is noise alone, on a plateau, the model of a batch fits that batch, lambda runs down,
// and the one step that leaves would be many times as long as theta: units saturate for good.
// `max_relative_step` is against that.
//
// Inverses are refreshed every `inverse_interval` steps, and when lambda has moved by half since. By itself
// the interval is c sum of d^3 / (b n), d the sides of the factors, b the batch's examples, c = 1 for
// inverses and 4 for eigenbases, between 1 and 10: a tenth or so of a step. A batch whose factors are not
// finite leaves the means as they were. Parameters that no layer tells have the mean of a diagonal.
//
// `examples`: of the training data, which an epoch has.
std::unique_ptr<Direction> kfac_direction(const KfacMethodOptions& options, int64_t examples);

// The same in the eigenbases of the factors with corrected eigenvalues, and lambda added to them (George et
// al. 2018). Bases are refreshed by a step of orthogonal iteration.
std::unique_ptr<Direction> ekfac_direction(const KfacMethodOptions& options, int64_t examples);

}  // namespace osculant
