// What holds of every method that the table of methods names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "osculant/base/testing.h"
#include "osculant/io/archive.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;
using testing::relative_difference;

class EveryMethod : public ::testing::TestWithParam<std::string> {
 protected:
  Method method() const { return make_method(GetParam()); }
  bool takes_steps_whole() const { return method().make(testing::small_mlp()).rule->takes_all(); }
};

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethod, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& method : method_table()) names.push_back(method.name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

// f + 0.05 norm(weights)^2 + 0.1 norm(biases)^2
Objective decayed() {
  return testing::small_mlp().plus(weight_decay(0.1, {{"*.bias", 0.2}}));
}
Tensor decays() {  // of theta: 0.weight [6, 2], 0.bias [6], 2.weight [1, 6], 2.bias [1]
  return at::cat({at::full({12}, 0.1, f64()), at::full({6}, 0.2, f64()), at::full({6}, 0.1, f64()),
                  at::full({1}, 0.2, f64())});
}

class Saver : public Observer {
 public:
  Saver(int64_t step, std::string path) : step_(step), path_(std::move(path)) {}
  void on_step(const StepRecord& record, const Minimizer& minimizer) override {
    if (record.step != step_) return;
    Archive archive("test", 1);
    minimizer.save(archive);
    archive.save(path_);
  }

 private:
  int64_t step_;
  std::string path_;
};

// Three steps, a file, and three more by objects that know nothing but the file: with weight decay, clipping
// and averaging, and with a schedule and a group where the method has a learning rate.
TEST_P(EveryMethod, resumes_to_the_same_bits) {
  std::string path = (std::filesystem::path(::testing::TempDir()) / (GetParam() + ".safetensors")).string();
  for (int64_t batch_size : {full_batch, int64_t{20}}) {
    MinimizeOptions options{.steps = 6,
                            .seed = 3,
                            .batch_size = batch_size,
                            .clip_gradient_norm = 0.3,
                            .averaging = 0.7,
                            .evaluate_every = 1};
    if (takes_steps_whole()) {
      options.schedule = {.shape = ScheduleShape::cosine, .warmup = 2, .length = 8};
      options.learning_rates = {{"*.bias", 0.5}};
    }
    auto objective = decayed();
    options.observers = {std::make_shared<Saver>(3, path)};
    auto whole = minimize(objective, method(), options);

    auto fresh = decayed();
    fresh.layout().assign(torch::ones({fresh.parameters()}, f64()));
    options.observers = {};
    Minimizer resumed(fresh, method(), options);
    resumed.load(Archive::load(path, "test", 1));
    EXPECT_EQ(resumed.stepper().steps(), 3);
    auto end = resumed.run();
    EXPECT_TRUE(fresh.layout().theta().equal(objective.layout().theta())) << batch_size;
    EXPECT_EQ(end.final_loss, whole.final_loss);
    EXPECT_EQ(end.initial_loss, whole.initial_loss);
    EXPECT_EQ(end.rejected_steps, whole.rejected_steps);
    EXPECT_EQ(end.gradient_equivalents, whole.gradient_equivalents);
    EXPECT_EQ(end.steps, 6);
  }
  std::filesystem::remove(path);
}

// Writes down the gradient that a direction is given to follow.
class Listening : public Direction {
 public:
  Listening(std::unique_ptr<Direction> inner, std::vector<Tensor>& heard)
      : inner_(std::move(inner)), heard_(heard) {}
  Needs needs() const override { return inner_->needs(); }
  void prepare(const StepContext& context) override {
    heard_.push_back(context.gradient.clone());
    inner_->prepare(context);
  }
  Step propose(const StepContext& context, const Damping& damping) override {
    return inner_->propose(context, damping);
  }
  void accepted(const StepOutcome& outcome) override { inner_->accepted(outcome); }
  void rejected(const StepOutcome& outcome) override { inner_->rejected(outcome); }

 private:
  std::unique_ptr<Direction> inner_;
  std::vector<Tensor>& heard_;
};

TEST_P(EveryMethod, follows_the_clipped_gradient_of_all) {
  std::vector<Tensor> heard;
  Method listening(GetParam(), [&](const Objective& objective) {
    auto parts = method().make(objective);
    parts.direction = std::make_unique<Listening>(std::move(parts.direction), heard);
    return parts;
  });
  auto objective = decayed();
  double clip = 0.5 * objective.value_and_gradient().second.norm().item<double>();
  Stepper stepper(objective, listening, {.clip_gradient_norm = clip});
  int64_t clipped = 0;
  for (int i = 0; i < 4; ++i) {
    auto data = testing::small_mlp();
    Tensor theta = objective.layout().theta().clone();
    data.layout().assign(theta);
    Tensor g = data.value_and_gradient().second + decays() * theta;
    double norm = g.norm().item<double>();
    auto record = stepper.step();
    EXPECT_NEAR(record.gradient_norm, norm, 1e-12 * norm);  // before clipping
    ASSERT_EQ(heard.size(), static_cast<size_t>(i) + 1);
    EXPECT_LT(relative_difference(heard.back(), g * std::min(1.0, clip / norm)), 1e-12);
    EXPECT_FALSE(at::equal(objective.layout().theta(), theta) && record.accepted);
    clipped += norm > clip;
  }
  EXPECT_GT(clipped, 0);
}

// Weight decay as a regulariser against the same function as a data term, mean of (sqrt(25 d_i / 2)
// theta_i)^2 over the 25 outputs: value, gradient, H and G are the same, so all steps are.
TEST_P(EveryMethod, has_weight_decay_in_its_model) {
  auto plain = testing::small_mlp();
  const auto& term = plain.terms()[0];
  Tensor roots = (decays() * 12.5).sqrt();
  auto scaled = term.model.with_forward([leaves = plain.layout().leaves(), roots](const Model::Inputs&) {
    std::vector<Tensor> flat;
    for (const auto& leaf : leaves) flat.push_back(leaf.flatten());
    return Model::Outputs{(at::cat(flat) * roots).unsqueeze(0)};
  });
  Dataset zeros(torch::zeros({1, 1}, f64()), torch::zeros({1, 25}, f64()));
  Objective as_term({term, {scaled, MeanSquaredError(), zeros.full()}});
  auto as_regularizer = decayed();
  ASSERT_NEAR(as_term.value(), as_regularizer.value(), 1e-15);
  ASSERT_GT(as_term.value(), plain.value());
  // Where soap's factors are singular, rounding chooses among the bases of their null spaces: sides above 2
  // keep the identity.
  auto determined = method();
  if (GetParam() == "soap") determined = make_method("soap", {{"max_dimension", 2.0}});
  // A second term draws targets of its own.
  if (GetParam().ends_with("kfac")) determined = make_method(GetParam(), {{"gradients", "exact"}});
  Stepper one(as_regularizer, determined), two(as_term, determined);
  for (int i = 0; i < 4; ++i) {
    auto a = one.step(), b = two.step();
    EXPECT_EQ(a.accepted, b.accepted) << i;
    EXPECT_NEAR(a.loss_before, b.loss_before, 1e-7 * b.loss_before) << i;
    EXPECT_LT(relative_difference(as_regularizer.layout().theta(), as_term.layout().theta()), 1e-5) << i;
  }
}

class Iterates : public Observer {
 public:
  void on_step(const StepRecord&, const Minimizer& minimizer) override {
    thetas.push_back(minimizer.stepper().objective().layout().theta().clone());
  }
  std::vector<Tensor> thetas;
};

TEST_P(EveryMethod, ends_at_the_average) {
  auto objective = testing::small_mlp();
  auto iterates = std::make_shared<Iterates>();
  auto summary = minimize(objective, method(), {.steps = 5, .averaging = 1, .observers = {iterates}});
  Tensor mean = at::stack(iterates->thetas).mean(0);
  EXPECT_LT(relative_difference(objective.layout().theta(), mean), 1e-14) << summary.brief_report();
  EXPECT_DOUBLE_EQ(summary.final_loss, objective.value());
}

TEST_P(EveryMethod, scales_groups_or_says_why_not) {
  StepperOptions options{.learning_rates = {{"*.bias", 0}, {"2.weight", 0.5}}};
  if (!takes_steps_whole()) {
    EXPECT_EQ(message_of([&] { Stepper(testing::small_mlp(), method(), options); }, ErrorKind::usage),
              "learning_rate of a parameter group of method " + GetParam() +
                  ": it finds the length of its steps itself");
    return;
  }
  auto grouped = testing::small_mlp(), plain = testing::small_mlp();
  Tensor start = plain.layout().theta().clone();
  auto take_one = [](Stepper stepper) {  // soap's first gradient makes no step
    if (stepper.step().accepted) return;
    EXPECT_TRUE(stepper.step().accepted);
  };
  take_one(Stepper(grouped, method(), options));
  take_one(Stepper(plain, method()));
  Tensor share = at::cat(
      {at::ones({12}, f64()), at::zeros({6}, f64()), at::full({6}, 0.5, f64()), at::zeros({1}, f64())});
  EXPECT_LT(relative_difference(grouped.layout().theta() - start, share * (plain.layout().theta() - start)),
            1e-12);
}

// Running statistics move with every forward pass in training mode, that of a trial point too, under graphs
// that are kept for products.
TEST_P(EveryMethod, trains_with_batch_normalisation_or_says_why_not) {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Linear(2, 6), torch::nn::BatchNorm1d(6), torch::nn::Tanh(),
                            torch::nn::Linear(6, 1));
  net->to(at::kDouble);
  auto data = testing::small_data();
  for (int64_t batch_size : {0, 8}) {
    Objective objective(Model(net), MeanSquaredError(), data.full());
    try {
      Stepper stepper(objective, method(), {.batch_size = batch_size});
      for (int i = 0; i < 4; ++i) EXPECT_TRUE(stepper.step().finite);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("batch norm"));
      EXPECT_THAT(GetParam(), ::testing::AnyOf("kfac", "ekfac"));
    }
  }
}

// A loss that is not finite once: no step, no trace of it, and the run goes on with the bits it would have
// had.
TEST_P(EveryMethod, survives_numbers_that_are_not_finite) {
  auto run = [this](double factor) {
    auto now = std::make_shared<double>(1);
    auto loss = FunctionLoss(
        [now](const OutputLoss::Outputs& z, const Batch& batch) {
          return (z[0] - batch.targets[0].tensor).square().squeeze(1) * *now;
        },
        true);
    Objective objective(testing::small_net(), loss, testing::small_data().full());
    Stepper stepper(objective, method());
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(stepper.step().finite);
    stepper.release();  // what a line search may have computed already
    if (factor != 1) {
      Tensor before = objective.layout().theta().clone();
      *now = factor;
      auto record = stepper.step();
      *now = 1;
      EXPECT_FALSE(record.finite || record.accepted);
      EXPECT_THAT(record.note, HasSubstr("skipped: loss"));
      EXPECT_TRUE(objective.layout().theta().equal(before));
    }
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(stepper.step().finite);
    return objective.layout().theta().clone();
  };
  Tensor undisturbed = run(1);
  for (double factor : {std::nan(""), std::numeric_limits<double>::infinity()})
    EXPECT_TRUE(run(factor).equal(undisturbed)) << factor;
}

}  // namespace
}  // namespace osculant
