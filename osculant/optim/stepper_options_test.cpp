// What a run may ask of any method: schedules, groups, clipping, averaging, the noise floor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "osculant/base/testing.h"
#include "osculant/io/archive.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;

// f = x'x / 2: the gradient is x.
Objective bowl(double start = 1) {
  Tensor x = at::full({2}, start, f64()).requires_grad_(), y = at::full({2}, start, f64()).requires_grad_();
  return Objective::function({{"x", x}, {"y", y}}, [=] { return (x.dot(x) + y.dot(y)) / 2; });
}

TEST(StepperOptions, a_schedule_scales_the_learning_rate) {
  Objective objective = bowl();
  Schedule schedule{.shape = ScheduleShape::step, .warmup = 2, .every = 1, .factor = 0.5};
  Stepper stepper(objective, methods::sgd({.learning_rate = 0.1}), {.schedule = schedule});
  double expected = 1;
  for (double share : {0.5, 1.0, 1.0, 0.5, 0.25}) {
    stepper.step();
    expected *= 1 - 0.1 * share;
    EXPECT_NEAR(objective.layout().theta()[0].item<double>(), expected, 1e-15);
  }
}

TEST(StepperOptions, groups_have_learning_rates_of_their_own) {
  Objective objective = bowl();
  Stepper stepper(objective, methods::adam({.learning_rate = 0.1}),
                  {.learning_rates = {{"*", 0.5}, {"y", 0}}});
  stepper.step();  // Adam's first step is the learning rate itself
  Tensor theta = objective.layout().theta();
  EXPECT_NEAR(theta[0].item<double>(), 0.95, 1e-8);
  EXPECT_EQ(theta[3].item<double>(), 1);
}

TEST(StepperOptions, a_line_search_has_no_learning_rate_to_scale) {
  auto message = [](const StepperOptions& options) {
    return message_of([&] { Stepper stepper(bowl(), methods::lbfgs(), options); }, ErrorKind::usage);
  };
  EXPECT_EQ(message({.schedule = {.warmup = 3}}),
            "schedule of method lbfgs: it finds the length of its steps itself");
  EXPECT_EQ(message({.learning_rates = {{"x", 2}}}),
            "learning_rate of a parameter group of method lbfgs: it finds the length of its steps itself");
}

TEST(StepperOptions, clips_the_gradient_that_is_followed) {
  Objective objective = bowl(3);
  Stepper stepper(objective, methods::sgd({.learning_rate = 1}), {.clip_gradient_norm = 0.5});
  auto record = stepper.step();
  EXPECT_NEAR(record.gradient_norm, 6, 1e-14);
  EXPECT_NEAR(record.step_norm, 0.5, 1e-14);
}

TEST(StepperOptions, the_model_of_a_clipped_step_is_that_of_the_true_gradient) {
  // On a quadratic the model is exact, so rho is 1 whatever the step.
  auto objective = testing::least_squares(at::tensor({1.0, 2.0, 3.0}, f64()));
  Stepper stepper(objective, methods::hessian_free({.damping = {.initial = 0.1}}),
                  {.clip_gradient_norm = 0.1});
  auto record = stepper.step();
  ASSERT_TRUE(record.accepted);
  EXPECT_GT(record.gradient_norm, 0.2);
  EXPECT_NEAR(record.rho, 1, 1e-9);
}

TEST(StepperOptions, averages_iterates) {
  Objective objective = bowl();
  auto run = [&](double averaging, int64_t steps) {
    objective.layout().assign(at::ones({4}, f64()));
    return minimize(objective, methods::sgd({.learning_rate = 0.5}),
                    {.steps = steps, .averaging = averaging});
  };
  run(1, 4);  // the mean of 1/2, 1/4, 1/8, 1/16
  double mean = (0.5 + 0.25 + 0.125 + 0.0625) / 4;
  EXPECT_NEAR(objective.layout().theta()[0].item<double>(), mean, 1e-15);
  auto summary = run(0.5, 4);
  double average = 0.5;
  for (double x : {0.25, 0.125, 0.0625}) average += 0.5 * (x - average);
  EXPECT_NEAR(objective.layout().theta()[0].item<double>(), average, 1e-15);
  EXPECT_NEAR(summary.final_loss, 2 * average * average, 1e-15);
}

// After a step that was not made the iterate is where it was.
TEST(StepperOptions, averages_over_refused_steps_as_well) {
  Tensor x = torch::ones({1}, f64()).requires_grad_();
  auto factor = std::make_shared<double>(1);
  auto objective = Objective::function({{"x", x}}, [=] { return x.dot(x) * (*factor / 2); });
  Stepper stepper(objective, methods::sgd({.learning_rate = 0.5}), {.averaging = 1});
  for (double value : {1.0, 1.0, std::nan(""), 1.0}) {
    *factor = value;
    EXPECT_EQ(stepper.step().accepted, value == 1);
  }
  EXPECT_NEAR(stepper.average().item<double>(), (0.5 + 0.25 + 0.25 + 0.125) / 4, 1e-15);
}

TEST(StepperOptions, an_averaged_run_resumes_to_the_same_bits) {
  MinimizeOptions options{.steps = 9, .batch_size = 16, .averaging = 0.7};
  auto method = methods::adam({.learning_rate = 0.05});
  auto whole = testing::small_mlp(), again = testing::small_mlp();
  minimize(whole, method, options);

  Archive archive("test", 1);
  {
    struct Keep : Observer {
      explicit Keep(Archive& archive) : archive(archive) {}
      void on_end(const Summary&, const Minimizer& minimizer) override { minimizer.save(archive); }
      Archive& archive;
    };
    auto first = options;
    first.steps = 4;
    first.observers = {std::make_shared<Keep>(archive)};
    Minimizer(testing::small_mlp(), method, first).run();
  }
  Minimizer rest(again, method, options);
  rest.load(archive);
  rest.run();
  EXPECT_TRUE(whole.layout().theta().equal(again.layout().theta()));
}

TEST(StepperOptions, noise_keeps_lambda_from_falling) {
  // Targets that are noise alone: on 4 of 256 examples rho still flatters, and lambda runs down.
  auto run = [](int64_t noise_interval) {
    Tensor X = testing::normal({256, 8}, 1), y = 5 * testing::normal({256, 1}, 2);
    Tensor w = testing::normal({8, 1}, 3).requires_grad_();
    Model net({{"w", w}}, [w](const Model::Inputs& x) -> Model::Outputs { return {x[0].matmul(w)}; });
    Objective objective(net, MeanSquaredError(), Dataset(X, y).batches(4));
    DampingOptions damping{.initial = 1, .noise_interval = noise_interval};
    Stepper stepper(objective, methods::hessian_free({.damping = damping}));
    double before = 0;
    for (int i = 0; i < 40; ++i) before = stepper.step().damping;
    return std::pair(before, stepper.gradient_equivalents());
  };
  auto [without, cost] = run(0);
  auto [with, more] = run(2);
  EXPECT_LT(without, 0.01);
  EXPECT_GT(with, 1);
  EXPECT_GT(more, cost) << "half gradients and solves are charged";
}

TEST(Samples, draws_what_was_asked_for) {
  auto objective = testing::small_mlp();
  RandomStream random(1, "test");
  Samples full(objective, objective, random);
  EXPECT_EQ(full.part(0.5, {.gradient = true})->objective().examples(), 24);
  EXPECT_EQ(full.fresh({.gradient = true})->objective().examples(), 48);
  auto batch = objective.on(objective.terms()[0].data.batch(0).slice(0, 10));
  Samples mini(objective, batch, random);
  Tensor halves =
      (mini.part(0.5, {.gradient = true})->gradient() +
       objective.on(objective.terms()[0].data.batch(0).slice(5, 10)).value_and_gradient().second) /
      2;
  EXPECT_TRUE(at::allclose(halves, batch.value_and_gradient().second, 1e-12, 1e-14));
  auto split = mini.split(0.3, {.gradient = true});
  auto gradient_of = [&](int64_t begin, int64_t end) {
    return objective.on(objective.terms()[0].data.batch(0).slice(begin, end)).value_and_gradient().second;
  };
  EXPECT_TRUE(at::allclose(split.part->gradient(), gradient_of(0, 3), 1e-12, 1e-14));
  EXPECT_TRUE(at::allclose(split.others->gradient(), gradient_of(3, 6), 1e-12, 1e-14));
  EXPECT_TRUE(
      at::allclose(mini.split(0.8, {.gradient = true}).others->gradient(), gradient_of(8, 10), 1e-12, 1e-14));
  EXPECT_EQ(mini.split(1, {}).part->objective().examples(), 9);
  auto drawn = full.split(0.5, {.gradient = true});  // at random, none twice
  EXPECT_TRUE(at::allclose((drawn.part->gradient() + drawn.others->gradient()) / 2,
                           objective.value_and_gradient().second, 1e-12, 1e-14));
  auto fresh = mini.fresh({.gradient = true});
  EXPECT_EQ(fresh->objective().examples(), 10);
  EXPECT_FALSE(at::allclose(fresh->gradient(), batch.value_and_gradient().second));
}

}  // namespace
}  // namespace osculant
