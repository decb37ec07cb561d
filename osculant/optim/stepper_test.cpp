#include "osculant/optim/stepper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/io/archive.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;

std::vector<Method> all_methods() {
  return {
      methods::sgd({.learning_rate = 0.05}),
      methods::momentum({.learning_rate = 0.05}),
      methods::adam({.learning_rate = 0.01}),
      methods::adamw({.learning_rate = 0.01}),
      methods::rmsprop({.learning_rate = 0.01, .momentum = 0.1, .centered = true}),
      methods::lbfgs(),
      methods::lsr1(),
      methods::bfgs(),
      methods::ssbroyden(),
      methods::sr1(),
      methods::levenberg_marquardt(),
      methods::hessian_free(),
      methods::hessian_free({.backtrack = false}),
      methods::hessian_free({.curvature = CurvatureMatrix::hessian,
                             .preconditioner = {.kind = Preconditioner::low_rank, .rank = 4, .refresh = 3}}),
      methods::hessian_free(
          {.preconditioner = {.kind = Preconditioner::diagonal, .refresh = 3}, .curvature_share = 0.2}),
      methods::hessian_free({.preconditioner = {.kind = Preconditioner::kfac, .refresh = 3}}),
      methods::hessian_free({.preconditioner = {.kind = Preconditioner::ekfac, .refresh = 3}}),
      methods::inverse_correction({.learning_rate = 0.05, .cutoff = 1e-3}),
      methods::inverse_correction({.learning_rate = 0.05, .rank = 4, .refresh = 3, .cutoff = 1e-3}),
      methods::inverse_correction({.complement = Complement::adam, .rank = 4, .refresh = 3}),
      methods::inverse_correction({.complement = Complement::rmsprop, .rank = 4, .warm_start = false}),
      methods::newton(),
      methods::newton({.inverse = NewtonInverse::pseudo}),
      methods::newton_cg(),
      methods::newton_cg({.gradient_tolerance = 1e3}),
      methods::newton_minres(),
      methods::trust_region(),
      methods::cubic_newton()};
}

// ---- data order ----

TEST(DataOrder, visits_every_example_once_an_epoch_in_an_order_of_the_seed) {
  Dataset data(torch::arange(10, f64()).unsqueeze(1), torch::zeros({10, 1}, f64()));
  auto epoch = [](DataOrder& order) {
    std::vector<double> seen;
    for (int64_t i = 0; i < order.batches(); ++i, order.advance()) {
      auto source = order.current();
      for (int64_t b = 0; b < source.batches(); ++b) {
        Tensor x = source.batch(b).inputs[0].tensor.contiguous();
        seen.insert(seen.end(), x.data_ptr<double>(), x.data_ptr<double>() + x.numel());
      }
    }
    return seen;
  };
  DataOrder order(data.batches(3), 4, 3, 1, 0), same(data.batches(3), 4, 3, 1, 0),
      other(data.batches(3), 4, 3, 2, 0);
  auto first = epoch(order), second = epoch(order);
  EXPECT_EQ(order.epoch(), 2);
  EXPECT_EQ(first, epoch(same));
  EXPECT_NE(first, epoch(other));
  EXPECT_NE(first, second);
  same.move_to(1, 0);
  EXPECT_EQ(second, epoch(same));
  for (auto* seen : {&first, &second}) {
    std::sort(seen->begin(), seen->end());
    EXPECT_EQ(*seen, (std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  }
}

// ---- resuming ----

void expect_same_bits_after_resume(const Method& method, int64_t batch_size) {
  SCOPED_TRACE(method.name() + ", batch " + std::to_string(batch_size));
  StepperOptions options{.batch_size = batch_size, .seed = 5};
  auto objective = testing::small_mlp();
  Stepper whole(objective, method, options);
  for (int i = 0; i < 5; ++i) whole.step();
  whole.inspect();  // looking at the next point is no part of the run
  Archive archive("test", 1);
  whole.save(archive);
  std::vector<double> losses;
  for (int i = 0; i < 6; ++i) losses.push_back(whole.step().loss_before);

  auto fresh = testing::small_mlp();
  fresh.layout().assign(torch::ones({fresh.parameters()}, f64()));
  Stepper resumed(fresh, method, options);
  resumed.load(archive);
  EXPECT_EQ(resumed.steps(), 5);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(resumed.step().loss_before, losses[i]) << "step " << i;
  EXPECT_TRUE(fresh.layout().theta().equal(objective.layout().theta()));
  EXPECT_EQ(resumed.epochs(), whole.epochs());
}

TEST(Stepper, resumes_to_the_same_bits) {
  for (const auto& method : all_methods()) {
    expect_same_bits_after_resume(method, full_batch);
    expect_same_bits_after_resume(method, 20);  // 20, 20, 8: the checkpoint lies inside an epoch
  }
}

// Dropout draws from libtorch's generator and batch norm keeps statistics: both resume.
TEST(Stepper, resumes_buffers_and_dropout) {
  auto make = [] {
    torch::manual_seed(9);
    torch::nn::Sequential net(torch::nn::Linear(2, 8), torch::nn::BatchNorm1d(8), torch::nn::ReLU(),
                              torch::nn::Dropout(0.3), torch::nn::Linear(8, 1));
    net->to(torch::kFloat64);
    return Objective(net, MeanSquaredError(), testing::small_data().batches(16));
  };
  for (const auto& method : {methods::adam({.learning_rate = 0.01}), methods::lbfgs()}) {
    auto objective = make();
    Stepper whole(objective, method, {.seed = 2});
    for (int i = 0; i < 4; ++i) whole.step();
    Archive archive("test", 1);
    whole.save(archive);
    for (int i = 0; i < 4; ++i) whole.step();
    auto buffers = objective.terms()[0].model.buffers();
    auto fresh = make();
    Stepper resumed(fresh, method, {.seed = 2});
    torch::manual_seed(1234);
    resumed.load(archive);
    for (int i = 0; i < 4; ++i) resumed.step();
    EXPECT_TRUE(fresh.layout().theta().equal(objective.layout().theta())) << method.name();
    auto resumed_buffers = fresh.terms()[0].model.buffers();
    ASSERT_EQ(buffers.size(), 3u);
    for (size_t i = 0; i < buffers.size(); ++i)
      EXPECT_TRUE(buffers[i].tensor.equal(resumed_buffers[i].tensor)) << buffers[i].name;
  }
}

TEST(Stepper, refuses_the_checkpoint_of_another_run) {
  auto objective = testing::small_mlp();
  Stepper adam(objective, methods::adam());
  Archive archive("test", 1);
  adam.save(archive);
  auto refusal = [&](Objective other, const Method& method, int64_t batch_size) -> std::string {
    Stepper stepper(std::move(other), method, {.batch_size = batch_size});
    try {
      stepper.load(archive);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal(testing::small_mlp(), methods::adam(), 0), "");
  EXPECT_THAT(refusal(testing::small_mlp(), methods::sgd(), 0), HasSubstr("method is adam, of this run sgd"));
  EXPECT_THAT(refusal(testing::small_mlp(), methods::adam(), 8),
              HasSubstr("batch size is 48, of this run 8"));
  EXPECT_THAT(refusal(testing::least_squares(torch::ones({3}, f64()), 0, 48), methods::adam(), 0),
              HasSubstr("another model"));
}

// ---- numbers that are not finite ----

struct Poison {
  bool on = false;
  double value = std::numeric_limits<double>::quiet_NaN();
};

Objective poisonable(const std::shared_ptr<Poison>& poison, int64_t batch_size) {
  auto loss = FunctionLoss(
      [poison](const OutputLoss::Outputs& z, const Batch& batch) {
        Tensor each = (z[0] - batch.targets[0].tensor).square().squeeze(1);
        return poison->on ? each * poison->value : each;
      },
      true);
  return Objective(testing::small_net(), loss, testing::small_data().batches(batch_size));
}

TEST(Stepper, survives_numbers_that_are_not_finite) {
  for (double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    for (int64_t batch_size : {48, 16}) {
      for (const auto& method : all_methods()) {
        SCOPED_TRACE(method.name());
        auto poison = std::make_shared<Poison>(Poison{false, value});
        auto objective = poisonable(poison, batch_size);
        Stepper stepper(objective, method, {.seed = 1});
        double start = objective.value();
        for (int i = 0; i < 2; ++i) EXPECT_TRUE(stepper.step().finite);
        stepper.release();  // what a line search may have computed already
        Tensor before = objective.layout().theta().clone();
        poison->on = true;
        auto record = stepper.step();
        poison->on = false;
        EXPECT_FALSE(record.finite);
        EXPECT_FALSE(record.accepted);
        EXPECT_TRUE(objective.layout().theta().equal(before));
        EXPECT_EQ(stepper.failed_steps(), 1);
        for (int i = 0; i < 10; ++i) EXPECT_TRUE(stepper.step().finite);
        EXPECT_EQ(stepper.consecutive_failures(), 0);
        EXPECT_LT(objective.value(), start);
      }
    }
  }
}

// In float32 the square of 1e20 is infinite: Adam's average of squares would stay so for ever.
TEST(Stepper, skips_gradients_whose_squares_overflow) {
  Tensor x = torch::ones({3}).requires_grad_();
  auto slope = std::make_shared<double>(1);
  auto objective = Objective::function({{"x", x}}, [=] { return x.sum() * *slope; });
  Stepper stepper(objective, methods::adam({.learning_rate = 0.125}));
  *slope = 1e20;
  EXPECT_FALSE(stepper.step().finite);
  *slope = 1;
  EXPECT_TRUE(stepper.step().accepted);
  EXPECT_NEAR(objective.layout().theta()[0].item<double>(), 0.875, 1e-6);
}

// ---- rules ----

class Fixed : public Direction {
 public:
  explicit Fixed(double scale) : scale_(scale) {}
  Needs needs() const override { return {.gradient = true}; }
  void prepare(const StepContext&) override {}
  Step propose(const StepContext& context, const Damping&) override {
    Step step;
    step.displacement = context.gradient * scale_;
    step.predicted_change = -1;
    return step;
  }
  void accepted(const StepOutcome&) override { ++taken; }
  void rejected(const StepOutcome&) override { ++refused; }
  int taken = 0, refused = 0;

 private:
  double scale_;
};

struct Observed {
  Fixed* direction = nullptr;
};

Method fixed_direction(double scale, std::function<std::unique_ptr<StepRule>()> rule, Observed& observed,
                       std::optional<Damping> damping = {}, int64_t attempts = 1) {
  return Method("fixed", [=, &observed](const Objective&) {
    auto direction = std::make_unique<Fixed>(scale);
    observed.direction = direction.get();
    return MethodParts{std::move(direction), rule(), damping, attempts};
  });
}

TEST(Stepper, brings_everything_back_when_a_step_is_refused) {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Linear(2, 8), torch::nn::BatchNorm1d(8), torch::nn::Tanh(),
                            torch::nn::Dropout(0.2), torch::nn::Linear(8, 1));
  net->to(torch::kFloat64);
  Objective objective(net, MeanSquaredError(), testing::small_data().full());
  ForwardState state(objective);
  auto before = state.snapshot();
  Tensor theta = objective.layout().theta().clone();
  Observed observed;
  Stepper stepper(objective, fixed_direction(
                                 +1, [] { return backtracking({.max_backtracks = 3}); }, observed,
                                 Damping({.initial = 2}), 2));
  auto record = stepper.step();  // uphill
  EXPECT_FALSE(record.accepted);
  EXPECT_TRUE(record.finite);
  EXPECT_EQ(record.attempts, 2);
  EXPECT_THAT(record.note, HasSubstr("not a direction of descent"));
  EXPECT_EQ(observed.direction->refused, 2);
  EXPECT_TRUE(objective.layout().theta().equal(theta));
  EXPECT_TRUE(state.snapshot() == before);
  EXPECT_EQ(stepper.step().damping, 2 * 1.5 * 1.5);
  EXPECT_EQ(stepper.consecutive_rejections(), 2);
}

// On x'x/2 from x = 1 along -a g: f after is (1 - a s)^2 f before.
Objective bowl() {
  Tensor x = torch::ones({4}, f64()).requires_grad_();
  return Objective::function({{"x", x}}, [x] { return x.dot(x) / 2; });
}

TEST(StepRule, backtracking_keeps_armijos_condition) {
  Observed observed;
  auto objective = bowl();
  Stepper stepper(objective, fixed_direction(
                                 -2.5, [] { return backtracking(); }, observed));
  auto record = stepper.step();
  ASSERT_TRUE(record.accepted);
  // 2.5 * 0.8^k: the first that lowers f by 1 % of the slope is k = 2, a = 1.6; 2.0 leaves f as it was.
  EXPECT_NEAR(record.step_norm, 1.6 * 2, 1e-12);
  EXPECT_NEAR(record.loss_after, 0.5 * 4 * 0.36, 1e-12);
  EXPECT_NEAR(record.loss_after, objective.value(), 1e-12);
  EXPECT_NEAR(record.rho, (0.5 * 4 * 2.25 - 2) / -1, 1e-12);  // of the whole step: f rose
}

// f seems to rise by two units of rounding where the gradient, as given, points down.
TEST(StepRule, backtracking_takes_what_rounding_hides) {
  Tensor x = torch::full({1}, 0.1, f64()).requires_grad_();
  auto objective = Objective::function({{"x", x}}, [x] { return (1 + 5e-16 * (1 - 10 * x)).sum(); });
  auto start = objective.layout().snapshot();
  ForwardState state(objective);
  auto before = state.snapshot();
  Trials trials(objective, start, objective.value(), torch::full({1}, 1e-16, f64()), state, before);
  Step step;
  step.displacement = torch::full({1}, -0.1, f64());
  step.predicted_change = -1e-17;
  EXPECT_GT(trials.value(step.displacement), trials.start_value());
  auto outcome = backtracking()->decide(trials, step);
  EXPECT_TRUE(outcome.accepted);
  EXPECT_EQ(outcome.rho, 1);
  EXPECT_TRUE(outcome.displacement.equal(step.displacement));
  step.predicted_change = -1e-3;  // would have to be seen
  outcome = backtracking()->decide(trials, step);
  EXPECT_LT(outcome.rho, 0);
  EXPECT_FALSE(outcome.accepted && outcome.displacement.equal(step.displacement));
}

TEST(StepRule, gain_ratio_takes_whole_steps_or_none) {
  Observed observed;
  auto objective = bowl();
  Stepper good(objective, fixed_direction(
                              -1.5, [] { return gain_ratio(); }, observed));
  auto record = good.step();
  EXPECT_TRUE(record.accepted);
  EXPECT_NEAR(record.rho, 1.5, 1e-12);  // f fell from 2 to 0.5, 1 was promised
  auto other = bowl();
  Stepper bad(other, fixed_direction(
                         -2.5, [] { return gain_ratio(); }, observed));
  EXPECT_FALSE(bad.step().accepted);
  EXPECT_EQ(other.value(), 2);
}

TEST(StepRule, strong_wolfe_steps_are_reused) {
  Observed observed;
  auto objective = bowl();
  Stepper stepper(objective, fixed_direction(
                                 -0.2, [] { return strong_wolfe_rule({.curvature = 0.1}); }, observed));
  auto record = stepper.step();
  ASSERT_TRUE(record.accepted);
  EXPECT_LE(record.loss_after, 0.01 * 2);  // abs(1 - a) <= 0.1
  EXPECT_EQ(stepper.inspect().value, record.loss_after);
  EXPECT_EQ(stepper.known_loss(), record.loss_after);
  double charged = objective.ledger().gradient_equivalents();
  stepper.inspect();
  EXPECT_EQ(objective.ledger().gradient_equivalents(), charged);
}

// ---- accounts ----

TEST(Stepper, charges_a_step_for_its_own_work) {
  auto objective = testing::small_mlp();
  Stepper stepper(objective, methods::adam(), {.batch_size = 12});
  for (int i = 1; i <= 6; ++i) {
    stepper.inspect();
    auto record = stepper.step();
    EXPECT_DOUBLE_EQ(record.gradient_equivalents, 0.25 * i);
    EXPECT_DOUBLE_EQ(record.epochs, 0.25 * i);
    EXPECT_EQ(record.examples, 12);
    stepper.inspect();
    EXPECT_DOUBLE_EQ(stepper.gradient_equivalents(), 0.25 * i);
  }
}

TEST(Stepper, keeps_no_more_memory_as_it_goes) {
  for (const auto& method : all_methods()) {
    auto objective = testing::small_mlp();
    MemoryMeter meter;
    Stepper stepper(objective, method);
    auto bytes_after = [&](int steps) {
      for (int i = 0; i < steps; ++i) stepper.step();
      stepper.release();
      return meter.current();
    };
    int64_t full = bytes_after(25);  // by then memories of past steps are full
    EXPECT_EQ(bytes_after(20), full) << method.name();
  }
}

}  // namespace
}  // namespace osculant
