// What several processes compute together equals what one computes alone. Run by mpirun; every process runs
// every test, and the first one reports. An argument is the most bytes that a message may have.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "osculant/comm/communicator.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/fisher.h"
#include "osculant/curvature/regularizers.h"
#include "osculant/objective/linearization.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/testing.h"
#include "osculant/spectrum/eigenpairs.h"
#include "tests/processes.h"

namespace osculant {
namespace {

using testing::kRounding;
using testing::normal;
using testing::relative_difference;
using testing::same_everywhere;

// Of 48 examples: batches that no number of processes divides, and one smaller than most of them.
constexpr int64_t kRagged = 23;

std::vector<std::pair<std::string, Objective>> objectives() {
  auto mlp = [](int64_t batch_size) { return testing::small_mlp(batch_size); };
  Tensor weights = normal({48, 1}, 71).abs().squeeze(1);
  auto data = testing::small_data().examples();
  auto weighted = [&] {
    return Objective(testing::small_net(), MeanSquaredError(),
                     Dataset(data.inputs[0].tensor, data.targets[0].tensor, weights).batches(kRagged));
  };
  return {{"batches", mlp(kRagged)},
          {"one batch", mlp(48)},
          {"fewer examples than processes", mlp(2)},
          {"weighted", weighted()},
          {"weight decay", mlp(kRagged).plus(weight_decay(0.1))},
          {"gradient norm", mlp(kRagged).plus(regularizers::gradient_norm({.strength = 0.1}))},
          {"trace", mlp(kRagged).plus(regularizers::trace({.strength = 0.1}))},
          {"a function", testing::quadratic(at::linspace(1, 3, 5, at::kDouble)).objective}};
}

TEST(Processes, shareValuesGradientsAndProducts) {
  for (auto& [name, objective] : objectives()) {
    SCOPED_TRACE(name);
    int64_t n = objective.parameters();
    bool outputs = objective.has_outputs();
    Needs needs{.gradient = true, .hessian = true, .gauss_newton = outputs};
    auto shared = objective.linearize(needs), alone = objective.on_one_process().linearize(needs);
    EXPECT_NEAR(shared->value(), alone->value(), kRounding * std::abs(alone->value()));
    EXPECT_LT(relative_difference(shared->gradient(), alone->gradient()), kRounding);
    EXPECT_TRUE(same_everywhere(shared->gradient()));
    Tensor V = normal({n, 3}, 9);
    EXPECT_LT(relative_difference(shared->hessian_product(V), alone->hessian_product(V)), kRounding);
    EXPECT_TRUE(same_everywhere(shared->hessian_product(V)));
    if (!outputs) continue;
    EXPECT_LT(relative_difference(shared->gauss_newton_product(V), alone->gauss_newton_product(V)),
              kRounding);
    EXPECT_LT(relative_difference(shared->gauss_newton_gram(V), alone->gauss_newton_gram(V)), kRounding);
  }
}

// J'(J v) is the same whatever the order of the outputs.
TEST(Processes, shareJacobians) {
  for (int64_t batch_size : {int64_t{2}, kRagged}) {
    auto objective = testing::small_mlp(batch_size);
    auto shared = objective.linearize({.gauss_newton = true}),
         alone = objective.on_one_process().linearize({.gauss_newton = true});
    Tensor v = normal({objective.parameters()}, 9);
    ASSERT_EQ(shared->outputs_size(), 48);
    Tensor Jv = shared->jacobian_product(v);
    EXPECT_TRUE(same_everywhere(Jv));
    EXPECT_LT(relative_difference(std::get<0>(Jv.sort()), std::get<0>(alone->jacobian_product(v).sort())),
              kRounding);
    EXPECT_LT(relative_difference(shared->jacobian_transpose_product(Jv),
                                  alone->jacobian_transpose_product(alone->jacobian_product(v))),
              kRounding);
  }
}

// What is drawn for an example does not depend on who has it.
TEST(Processes, drawTheSame) {
  auto objective = testing::small_mlp(kRagged);
  auto one = objective.on_one_process();
  RandomStream a(4, "test"), b(4, "test");
  auto squares = [](const Objective& of, RandomStream& random) {
    return of.linearize({.gauss_newton = true})->mean_squared_gradients(3, random);
  };
  EXPECT_LT(relative_difference(squares(objective, a), squares(one, b)), kRounding);
  Tensor V = normal({objective.parameters(), 2}, 5), v = V.select(1, 0).contiguous();
  SampledFisher shared(objective, {.draws = 2}), alone(one, {.draws = 2});
  EXPECT_LT(relative_difference(shared.apply(V), alone.apply(V)), kRounding);
  auto form = shared.quadratic_form(v), expected = alone.quadratic_form(v);
  EXPECT_NEAR(form.value, expected.value, kRounding * expected.value);
  EXPECT_NEAR(form.standard_error, expected.standard_error, 1e-10 * expected.standard_error);
}

TEST(Processes, findTheSameEigenvalues) {
  auto objective = testing::small_mlp(kRagged);
  EigenOptions options{.count = 4, .dense_limit = 0};
  auto shared = eigenpairs(Hessian(objective), options),
       alone = eigenpairs(Hessian(objective.on_one_process()), options);
  EXPECT_EQ(shared.products, alone.products);
  EXPECT_LT(relative_difference(shared.values, alone.values), 1e-10);
  EXPECT_TRUE(same_everywhere(shared.vectors));
}

class EveryMethodShared : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethodShared, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& method : method_table()) names.push_back(method.name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

// Twenty steps carry rounding far where a method decides by it: SOAP's first eigenbases are arbitrary where a
// factor is singular (here every layer has four columns, and sides beyond four keep the identity), and on a
// network conjugate gradients stop an iteration earlier or later.
struct Case {
  std::function<Objective()> objective;
  Method method;
};
Case case_of(const std::string& name) {
  if (name == "soap") return {testing::small_cnn, make_method(name, {{"max_dimension", 4.0}})};
  if (name == "hessian_free" || name == "newton_cg" || name == "newton_minres")
    return {[] { return testing::least_squares(at::linspace(0.5, 2, 6, at::kDouble)); }, make_method(name)};
  return {[] { return testing::small_mlp(); }, make_method(name)};
}

TEST_P(EveryMethodShared, takesTheSameSteps) {
  for (int64_t batch_size : {int64_t{0}, kRagged}) {
    auto run = [&](bool together, int steps) {
      auto [make, method] = case_of(GetParam());
      Objective objective = make();
      Stepper stepper(together ? objective : objective.on_one_process(), method,
                      {.batch_size = batch_size, .seed = 3});
      for (int i = 0; i < steps; ++i) stepper.step();
      EXPECT_TRUE(same_everywhere(objective.layout().theta()));
      return objective.layout().theta().clone();
    };
    EXPECT_LT(relative_difference(run(true, 1), run(false, 1)), 1e-10) << batch_size;
    EXPECT_LT(relative_difference(run(true, 20), run(false, 20)), 1e-6) << batch_size;
    EXPECT_TRUE(run(true, 20).equal(run(true, 20)));
  }
}

TEST(Processes, HaveSharesThatMakeTheWhole) {
  const auto& world = world_communicator();
  for (int64_t count : {0, 1, 7, 48}) {
    auto share = share_of(count, world);
    Tensor sizes = at::zeros({world.size()}, at::kLong);
    sizes[world.rank()] = share.size();
    world.all_reduce_sum(sizes);
    EXPECT_EQ(sizes.sum().item<int64_t>(), count);
    EXPECT_LE(sizes.max().item<int64_t>() - sizes.min().item<int64_t>(), 1);
  }
  EXPECT_EQ(world.of_first(world.rank() + 2.5), 2.5);
  EXPECT_EQ(world.least(-world.rank()), 1 - world.size());
}

}  // namespace
}  // namespace osculant

int main(int argc, char** argv) {
  using namespace osculant;
  ::testing::InitGoogleTest(&argc, argv);
  if (argc > 1) {
    start_processes(std::atoi(argv[1]));
  } else {
    start_processes();
  }
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (!world_communicator().is_first()) delete listeners.Release(listeners.default_result_printer());
  bool passed = RUN_ALL_TESTS() == 0;
  passed = world_communicator().least(passed ? 1 : 0) > 0;
  if (world_communicator().is_first()) std::cout << world_communicator().size() << " processes\n";
  end_processes();
  return passed ? 0 : 1;
}
