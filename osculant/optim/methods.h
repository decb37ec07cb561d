#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "osculant/optim/directions/adahessian.h"
#include "osculant/optim/directions/cubic_newton.h"
#include "osculant/optim/directions/hessian_free.h"
#include "osculant/optim/directions/inverse_correction.h"
#include "osculant/optim/directions/kfac.h"
#include "osculant/optim/directions/lbfgs.h"
#include "osculant/optim/directions/levenberg_marquardt.h"
#include "osculant/optim/directions/lsr1.h"
#include "osculant/optim/directions/muon.h"
#include "osculant/optim/directions/newton.h"
#include "osculant/optim/directions/newton_cg.h"
#include "osculant/optim/directions/newton_minres.h"
#include "osculant/optim/directions/quasi_newton.h"
#include "osculant/optim/directions/shampoo.h"
#include "osculant/optim/directions/soap.h"
#include "osculant/optim/directions/sophia.h"
#include "osculant/optim/directions/torch_optimizer.h"
#include "osculant/optim/directions/trust_region.h"
#include "osculant/optim/method.h"
#include "osculant/optim/options.h"

namespace osculant {

// The training methods, each with its options: methods::adam({.learning_rate = 1e-2}). Options are checked
// here.
namespace methods {
Method sgd(const SgdOptions& options = {});
Method momentum(const MomentumOptions& options = {});
Method adam(const AdamOptions& options = {});
Method adamw(const AdamWOptions& options = {});
Method rmsprop(const RmspropOptions& options = {});
Method muon(const MuonOptions& options = {});
Method soap(const SoapOptions& options = {});
Method shampoo(const ShampooOptions& options = {});
Method adahessian(const AdahessianOptions& options = {});
Method sophia(const SophiaOptions& options = {});
Method lbfgs(const LbfgsOptions& options = {});
Method lsr1(const Lsr1Options& options = {});
Method bfgs(const QuasiNewtonOptions& options = {});
Method dfp(const DfpOptions& options = {});
Method broyden(const BroydenOptions& options = {});
Method ssbroyden(const QuasiNewtonOptions& options = {});
Method sr1(const Sr1Options& options = {});
Method levenberg_marquardt(const LevenbergMarquardtOptions& options = {});
Method gauss_newton(const GaussNewtonOptions& options = {});
Method kfac(const KfacMethodOptions& options = {});
Method ekfac(const EkfacMethodOptions& options = {});
Method hessian_free(const HessianFreeOptions& options = {});
Method inverse_correction(const InverseCorrectionOptions& options = {});
Method newton(const NewtonOptions& options = {});
Method newton_cg(const NewtonCgOptions& options = {});
Method newton_minres(const NewtonMinresOptions& options = {});
Method trust_region(const TrustRegionOptions& options = {});
Method cubic_newton(const CubicNewtonOptions& options = {});
}  // namespace methods

// What a method's memory and cost depend on.
struct ProblemSize {
  int64_t parameters = 0;        // n
  int64_t examples = 0;          // N
  int64_t outputs = 1;           // K, of one example
  int64_t batch_size = 0;        // b; 0: N
  int64_t bytes_per_number = 4;  // of theta's dtype
  double share() const {
    return batch_size > 0 && examples > 0 ? double(batch_size) / double(examples) : 1.0;
  }
};

// A formula of n, N, K and b, in words and to compute.
struct Formula {
  std::string text;
  std::function<double(const ProblemSize&)> value;
};

// A row of the table of methods.
struct MethodInfo {
  std::string name;
  std::string summary;  // one line
  std::string formula;  // a step: g the gradient, eta the learning rate, w the weight decay
  std::string citation;
  std::vector<OptionInfo> options;
  std::string tuned;  // the option that a comparison tunes, by factors of its default; empty: none
  Formula memory;     // bytes beside theta, its copy and one gradient, without the graphs of a batch
  Formula cost;       // gradient equivalents a step
  std::function<Method(const OptionMap&)> make;  // throws Error(usage) for an option unknown or out of range
};

const std::vector<MethodInfo>& method_table();
const MethodInfo& find_method(const std::string& name);  // Error(usage) naming the nearest
Method make_method(const std::string& name, const OptionMap& options = {});

}  // namespace osculant
