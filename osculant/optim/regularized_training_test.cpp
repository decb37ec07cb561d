// Penalties on gradient and curvature while a network is trained, and sharpness-aware steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>

#include "osculant/base/testing.h"
#include "osculant/curvature/regularizers.h"
#include "osculant/io/archive.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/regularizer_table.h"
#include "osculant/optim/testing.h"
#include "osculant/optim/trainer.h"

namespace osculant {
namespace {

namespace r = regularizers;
using ::testing::HasSubstr;
using testing::relative_difference;
using testing::small_mlp;

Objective penalised() {
  return small_mlp()
      .plus(r::gradient_norm({.strength = 0.02, .parameters = "*.weight"}))
      .plus(r::trace({.strength = 0.01, .matrix = PenaltyMatrix::gauss_newton, .seed = 5}))
      .plus(r::spectral({.strength = 0.01}))
      .plus(r::tail_energy({.strength = 0.001, .rank = 2, .refresh = 2}));
}

TEST(RegularizedTraining, a_step_follows_the_gradient_of_the_regularisers_turned_towards_theta) {
  auto objective = penalised(), twin = penalised();
  Stepper stepper(objective, methods::sgd({.learning_rate = 0.1}));
  for (int i = 0; i < 3; ++i) {
    twin = twin.advanced();
    auto [value, gradient] = twin.value_and_gradient();
    auto record = stepper.step();
    EXPECT_NEAR(record.loss_before, value, 1e-13);
    EXPECT_NEAR(record.gradient_norm, gradient.norm().item<double>(), 1e-12);
    twin.layout().add(gradient, -0.1);
    EXPECT_LT(relative_difference(objective.layout().theta(), twin.layout().theta()), 1e-13);
  }
}

// The line search's last value is that of the function frozen in the step; the next step has fresh probes.
TEST(RegularizedTraining, a_line_search_sees_one_function) {
  Stepper stepper(small_mlp().plus(r::trace({.strength = 0.05})), methods::lbfgs());
  for (int i = 0; i < 4; ++i) {
    auto record = stepper.step();
    ASSERT_TRUE(record.accepted) << record.note;
    EXPECT_LT(record.loss_after, record.loss_before);
    EXPECT_NEAR(stepper.objective().value(), record.loss_after, 1e-13);
    EXPECT_GT(std::abs(stepper.inspect().value - record.loss_after), 1e-6);
  }
}

TEST(RegularizedTraining, looking_at_a_step_before_it_is_made_does_not_draw_again) {
  Stepper stepper(penalised(), methods::adam());
  double value = stepper.inspect().value;
  stepper.release();
  EXPECT_EQ(stepper.inspect().value, value);
  EXPECT_EQ(stepper.step().loss_before, value);
}

// Quadratic convergence at the end takes exact Hessian products, the penalty's third derivatives among them:
// without the penalty `newton` takes 22 steps.
TEST(RegularizedTraining, newton_steps_converge_to_a_stationary_point_of_the_whole) {
  auto objective = small_mlp().plus(r::squared_gradient_norm({.strength = 0.1})).plus(weight_decay(0.01));
  Stepper stepper(objective, methods::newton());
  for (int i = 0; i < 26 && stepper.inspect().gradient_norm > 1e-9; ++i) stepper.step();
  EXPECT_LE(stepper.inspect().gradient_norm, 1e-9);
  EXPECT_GT(objective.without_regularizers().value_and_gradient().second.norm().item<double>(), 1e-3);
}

TEST(RegularizedTraining, methods_of_every_kind_lower_the_whole) {
  for (std::string method : {"adam", "lbfgs", "newton_cg", "hessian_free", "levenberg_marquardt"}) {
    auto objective = small_mlp()
                         .plus(r::squared_gradient_norm({.strength = 0.2}))
                         .plus(r::gradient_low_rank({.strength = 0.2, .parameters = "0.weight"}));
    double before = objective.value();
    OptionMap options;
    if (method == "adam") options["learning_rate"] = 0.02;
    minimize(objective, make_method(method, options), {.steps = 12});
    EXPECT_LT(objective.value(), 0.6 * before) << method;
  }
}

TEST(RegularizedTraining, resumes_to_the_same_bits) {
  for (std::string method : {"adam", "lbfgs", "newton_cg", "hessian_free"})
    for (int64_t batch_size : {full_batch, int64_t{20}}) {
      StepperOptions options{.batch_size = batch_size, .seed = 3};
      std::string path = (std::filesystem::path(::testing::TempDir()) / (method + "-regularised")).string();
      Stepper whole(penalised(), make_method(method), options);
      for (int i = 0; i < 3; ++i) whole.step();
      whole.inspect();  // what a checkpoint may find under way
      Archive archive("test", 1);
      whole.save(archive);
      archive.save(path);
      for (int i = 0; i < 3; ++i) whole.step();

      Stepper resumed(penalised(), make_method(method), options);
      resumed.load(Archive::load(path, "test", 1));
      for (int i = 0; i < 3; ++i) resumed.step();
      EXPECT_TRUE(resumed.objective().layout().theta().equal(whole.objective().layout().theta())) << method;
      EXPECT_EQ(resumed.gradient_equivalents(), whole.gradient_equivalents()) << method;
    }
}

TEST(RegularizedTraining, a_checkpoint_with_other_regularisers_is_refused) {
  Stepper saved(penalised(), methods::adam());
  Archive archive("test", 1);
  saved.save(archive);
  Stepper other(small_mlp().plus(r::trace()), methods::adam());
  EXPECT_THAT(
      message_of([&] { other.load(archive); }, ErrorKind::data),
      HasSubstr(
          "list of regularisers is [gradient_norm, trace, spectral, tail_energy], of this run [trace]"));
}

TEST(RegularizedTraining, an_exploding_penalty_is_skipped_by_name) {
  for (const auto& regularizer : {r::frobenius({.strength = 1e308}), weight_decay(1e308)}) {
    auto objective = small_mlp().plus(r::gradient_norm()).plus(regularizer);
    objective.layout().assign(objective.layout().theta() * 20);
    Tensor theta = objective.layout().theta().clone();
    Stepper stepper(objective, methods::sgd({.learning_rate = 0.1}));
    auto record = stepper.step();
    EXPECT_FALSE(record.finite);
    EXPECT_THAT(record.note, HasSubstr("skipped: loss inf"));
    EXPECT_THAT(record.note, HasSubstr("regulariser " + regularizer->name() + " is not finite"));
    EXPECT_TRUE(objective.layout().theta().equal(theta));
  }
}

TEST(RegularizedTraining, a_trainer_takes_them_on_its_batches) {
  auto model = testing::small_net();
  auto data = testing::small_data();
  TrainerOptions options;
  options.regularizers = {r::squared_gradient_norm({.strength = 0.5})};
  Trainer trainer(model, MeanSquaredError(), methods::sgd({.learning_rate = 0.1}), options);
  auto twin =
      Objective(testing::small_net(), MeanSquaredError(), data.batches(48)).plus(options.regularizers[0]);
  Batch first = data.range(0, 10);
  twin.layout().add(twin.on(first).value_and_gradient().second, -0.1);
  trainer.step(first);
  EXPECT_LT(relative_difference(model.layout().theta(), twin.layout().theta()), 1e-13);
}

TEST(SharpnessAwareSteps, follow_the_gradient_uphill) {
  auto objective = small_mlp(), twin = small_mlp();
  double rho = 0.3, eta = 0.1;
  Stepper stepper(objective, methods::sgd({.learning_rate = eta}), {.sharpness_radius = rho});
  for (int i = 0; i < 3; ++i) {
    Tensor theta = twin.layout().theta().clone(), g = twin.value_and_gradient().second;
    twin.layout().add(g, rho / g.norm().item<double>());
    Tensor uphill = twin.value_and_gradient().second;
    EXPECT_GT(relative_difference(uphill, g), 0.05);
    twin.layout().assign(theta - eta * uphill);
    auto record = stepper.step();
    EXPECT_NEAR(record.gradient_norm, g.norm().item<double>(), 1e-13);
    EXPECT_LT(relative_difference(objective.layout().theta(), twin.layout().theta()), 1e-14);
    EXPECT_NEAR(record.gradient_equivalents, 2 * (i + 1), 1e-12);
  }
}

TEST(SharpnessAwareSteps, are_clipped_and_refused_like_others) {
  auto objective = small_mlp();
  Stepper stepper(objective, methods::sgd({.learning_rate = 1}),
                  {.clip_gradient_norm = 0.01, .sharpness_radius = 0.3});
  EXPECT_NEAR(stepper.step().step_norm, 0.01, 1e-14);
  EXPECT_EQ(
      message_of([] { Stepper(small_mlp(), methods::lbfgs(), {.sharpness_radius = 0.1}); }, ErrorKind::usage),
      "sharpness_radius of method lbfgs: it judges its steps by the loss where they start");
  EXPECT_EQ(
      message_of([] { Stepper(small_mlp(), methods::sgd(), {.sharpness_radius = -1}); }, ErrorKind::usage),
      "sharpness_radius = -1: must be >= 0");
}

TEST(RegularizerTable, makes_each_from_its_options) {
  for (const auto& info : regularizer_table()) {
    auto made = info.make({{"strength", 0.5}, {"parameters", std::string("*.weight")}}, 1);
    EXPECT_EQ(made->name(), info.name);
    EXPECT_EQ(info.options[0].name, "strength");
  }
  EXPECT_THAT(message_of([] { find_regularizer("gradient_nrom"); }, ErrorKind::usage),
              HasSubstr("did you mean gradient_norm?"));
  EXPECT_THAT(message_of(
                  [] {
                    find_regularizer("trace").make({{"probs", 3.0}}, 1);
                  },
                  ErrorKind::usage),
              HasSubstr("option probs: trace has none of that name (did you mean probes?)"));
  EXPECT_THAT(message_of(
                  [] {
                    find_regularizer("trace").make({{"matrix", std::string("fisher")}}, 1);
                  },
                  ErrorKind::usage),
              HasSubstr("one of hessian, gauss_newton"));
}

}  // namespace
}  // namespace osculant
