// What Lanczos does besides its products: 100 steps on the Hessian of CA with 128 examples, few enough that a
// pass over the basis costs as much as a product. In units of the products' own time; one thread, float32.

#include <torch/types.h>

#include <cstdlib>
#include <iostream>

#include "bench/benchmark.h"
#include "bench/networks.h"
#include "osculant/base/stopwatch.h"
#include "osculant/curvature/curvature.h"
#include "osculant/data/dataset.h"
#include "osculant/model/model.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/objective.h"
#include "osculant/spectrum/eigenpairs.h"

namespace bench = osculant::bench;

namespace {

constexpr int64_t kSteps = 100;

// (time of the steps - time of their products) / time of their products. Ten pairs at the default tolerance
// take more steps than these, so all of them are made; a tighter tolerance would ask for more orthogonality.
double overhead(const osculant::Hessian& H, uint64_t seed) {
  double products_before = H.seconds();
  osculant::Stopwatch watch;
  auto result = osculant::eigenpairs(H, {.count = 10,
                                         .max_products = kSteps,
                                         .krylov_dimension = kSteps,
                                         .seed = seed,
                                         .verify = false,
                                         .check_products = 0});
  double total = watch.seconds(), products = H.seconds() - products_before;
  if (result.products != kSteps) {
    std::cerr << "made " << result.products << " steps, not " << kSteps << ": " << result.message << '\n';
    std::exit(1);
  }
  return (total - products) / products;
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = bench::parse_arguments(argc, argv, 7);
  at::set_num_threads(1);
  torch::manual_seed(0);
  osculant::Dataset data(at::randn({128, 784}), at::randint(10, {128}, at::kLong));
  osculant::Hessian H(osculant::Objective(bench::dense_network(), osculant::CrossEntropy(), data.full()));

  overhead(H, 0);
  std::vector<double> rounds;
  for (int64_t round = 0; round < arguments.rounds; ++round)
    rounds.push_back(overhead(H, static_cast<uint64_t>(round)));
  auto row =
      bench::row_of({.problem = "CA, 128 examples", .name = "100 Lanczos steps, less products", .bar = 0.45},
                    std::move(rounds));
  bench::write({"lanczos", "the time of the products", {row}}, arguments.out);
}
