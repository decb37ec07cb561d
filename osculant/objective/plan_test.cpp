#include "osculant/objective/plan.h"

#include <gtest/gtest.h>
#include <torch/nn.h>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"

namespace osculant {
namespace {

Objective wide_problem() {
  torch::manual_seed(0);
  torch::nn::Sequential net(torch::nn::Linear(50, 120), torch::nn::Tanh(), torch::nn::Linear(120, 10));
  auto x = at::randn({900, 50});
  auto y = at::randint(10, {900}, at::kLong);
  return Objective(Model(net), CrossEntropy(), Dataset(x, y).batches(150));
}

int64_t measured_peak(const Objective& objective, const Needs& needs) {
  MemoryMeter meter;
  Linearization linearization(objective, needs);
  Tensor v = at::ones({objective.parameters()});
  if (needs.hessian) linearization.hessian_product(v);
  if (needs.gauss_newton) linearization.gauss_newton_product(v);
  return meter.peak();
}

TEST(Plan, PredictsThePeakWithinTenPercentWithAndWithoutKeptGraphs) {
  for (Needs needs : {Needs{.hessian = true}, Needs{.gauss_newton = true}}) {
    auto objective = wide_problem();
    objective.set_memory_budget(int64_t{1} << 30);
    auto roomy = plan(objective, {.needs = needs, .hessian_products = 1});
    EXPECT_EQ(roomy.kept, 6);
    auto peak = static_cast<double>(measured_peak(objective, needs));
    EXPECT_NEAR(static_cast<double>(roomy.peak_bytes()), peak, 0.1 * peak);

    objective.set_memory_budget(roomy.working_bytes + roomy.graph_bytes / 2);
    auto tight = plan(objective, {.needs = needs, .hessian_products = 1});
    EXPECT_LT(tight.kept, 6);
    objective.set_memory_budget(tight.graph_budget());
    peak = static_cast<double>(measured_peak(objective, needs));
    EXPECT_NEAR(static_cast<double>(tight.peak_bytes()), peak, 0.1 * peak);
  }
}

TEST(Plan, CountsNominalPricesExactly) {
  auto objective = wide_problem();
  objective.set_memory_budget(int64_t{1} << 30);
  auto predicted = plan(objective, {.needs = {.hessian = true}, .hessian_products = 7});
  double spent = objective.ledger().gradient_equivalents();
  Linearization linearization(objective, {.hessian = true});
  linearization.hessian_product(at::zeros({objective.parameters(), 7}));
  EXPECT_NEAR(predicted.gradient_equivalents, objective.ledger().gradient_equivalents(), 1e-9);
  EXPECT_GT(spent, 0);  // measuring is charged too
}

TEST(Plan, RefusesWhatCannotFitAndSaysWhatWould) {
  auto objective = wide_problem();
  objective.set_memory_budget(1000);
  auto refused = plan(objective, {.needs = {.hessian = true}, .hessian_products = 1, .vectors = 2});
  try {
    refused.require_fit();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::memory);
    EXPECT_NE(std::string(error.what()).find("what would fit"), std::string::npos);
  }
}

}  // namespace
}  // namespace osculant
