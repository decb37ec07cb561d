// All eigenvalues of a network's curvature without computing them: density, counts, rank and log det of the
// Hessian and the Gauss-Newton matrix from products alone, each with its interval; and beside it the truth,
// since this network is small enough to have it.
#include <torch/torch.h>

#include <iostream>

#include "osculant/osculant.h"

namespace {

osculant::Objective make_objective() {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Linear(10, 32), torch::nn::Tanh(), torch::nn::Linear(32, 8));
  auto inputs = torch::randn({40, 10}), targets = torch::randn({40, 8});
  return osculant::Objective(net, osculant::MeanSquaredError(), osculant::Dataset(inputs, targets).full());
}

}  // namespace

int main() {
  auto objective = make_objective();
  osculant::Hessian H(objective);
  auto pairs =
      osculant::eigenpairs(H, {.count = 5, .target = osculant::EigenTarget::both, .tolerance = 1e-5});
  osculant::SampleOptions options{.steps = 40, .probes = 16, .dense_limit = 0};
  auto sample = osculant::sample_spectrum(H, options, &pairs);
  std::cout << osculant::spectral_density(sample).report();

  auto truth = torch::linalg_eigvalsh(osculant::dense(H).matrix.to(torch::kDouble));
  for (double t : {-0.01, 0.01, 0.1}) {
    auto count = osculant::count_below(sample, t);
    std::cout << count.low << " to " << count.high << " eigenvalues up to " << t << " (in truth "
              << (truth <= t).sum().item<int64_t>() << ")\n";
  }
  double damping = 1 - truth.min().item<double>();
  auto log_det = osculant::log_determinant(sample, damping);
  std::cout << "log det(H + " << damping << " I) in [" << log_det.low << ", " << log_det.high
            << "] (in truth " << (truth + damping).log().sum().item<double>() << ")\n";

  osculant::GaussNewton G(objective);
  int64_t bound = osculant::gauss_newton_rank_bound(objective);
  std::cout << osculant::rank(G, {.sample = options, .upper_bound = bound}).report();
  options.dense_limit = 1000;  // the matrix formed
  std::cout << osculant::rank(G, {.sample = options, .upper_bound = bound}).report();
}
