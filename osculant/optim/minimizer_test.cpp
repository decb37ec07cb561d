#include "osculant/optim/minimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <cmath>
#include <csignal>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/io/archive.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;

std::string refusal(const MinimizeOptions& options) {
  try {
    minimize(testing::small_mlp(), methods::adam(), options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(Target, reads_comparisons) {
  EXPECT_TRUE(Target::parse("loss<=1e-4").reached(1e-4));
  EXPECT_FALSE(Target::parse("loss<1e-4").reached(1e-4));
  EXPECT_TRUE(Target::parse("loss = 1e-4").reached(1e-5));
  EXPECT_TRUE(Target::parse("test.accuracy = 0.8").reached(0.9));
  EXPECT_FALSE(Target::parse("test.accuracy>=0.8").reached(0.7));
  EXPECT_FALSE(Target::parse("loss<=1").reached(unknown_number));
  EXPECT_EQ(Target::parse("test.accuracy>0.8").metric(), "test.accuracy");
  for (const char* text : {"loss", "loss<=", "<=1", "loss=<1", "loss<=x", "loss<=1e-4 or so", ""})
    EXPECT_THROW(Target::parse(text), Error) << text;
}

TEST(Minimizer, stops_at_the_target) {
  auto objective = testing::small_mlp();
  auto summary = minimize(objective, methods::lbfgs(), {.steps = 500, .target = "loss<=0.01"});
  EXPECT_EQ(summary.reason, StopReason::target);
  EXPECT_EQ(summary.reached, true);
  EXPECT_LE(objective.value(), 0.01);
  EXPECT_THAT(summary.message, HasSubstr("loss <= 0.01 reached"));
  EXPECT_LT(summary.steps, 500);

  auto missed = minimize(testing::small_mlp(), methods::adam(), {.steps = 3, .target = "loss<=1e-9"});
  EXPECT_EQ(missed.reason, StopReason::steps);
  EXPECT_EQ(missed.reached, false);
  EXPECT_EQ(missed.steps, 3);
  EXPECT_EQ(minimize(testing::small_mlp(), methods::adam(), {.steps = 3}).reached, std::nullopt);
  EXPECT_EQ(minimize(testing::small_mlp(), methods::adam(), {.target = "loss<=1e9"}).steps, 0);
}

TEST(Minimizer, stops_on_targets_of_other_metrics) {
  int calls = 0;
  MinimizeOptions options{.target = "test.accuracy>=0.3"};
  options.metrics = [&] { return std::vector<Metric>{{"test.accuracy", 0.1 * calls++}}; };
  auto summary = minimize(testing::small_mlp(), methods::adam(), options);
  EXPECT_EQ(summary.steps, 3);
  ASSERT_EQ(summary.final_metrics.size(), 2u);
  EXPECT_NEAR(summary.final_metrics[1].value, 0.3, 1e-12);
  options.target = "test.acuracy>=0.3";
  EXPECT_THAT(refusal(options), HasSubstr("did you mean test.accuracy?"));
}

TEST(Minimizer, spends_budgets_and_no_more) {
  auto ten = minimize(testing::small_mlp(), methods::adam(), {.budget = gradient_equivalents(10)});
  EXPECT_EQ(ten.reason, StopReason::budget);
  EXPECT_EQ(ten.steps, 10);
  EXPECT_DOUBLE_EQ(ten.gradient_equivalents, 10);
  auto batches = minimize(testing::small_mlp(), methods::adam(),
                          {.budget = gradient_equivalents(3), .batch_size = 12, .evaluate_every = 1});
  EXPECT_EQ(batches.steps, 12);
  EXPECT_DOUBLE_EQ(batches.epochs, 3);
  auto timed = minimize(testing::small_mlp(), methods::adam(), {.budget = seconds(0.05)});
  EXPECT_EQ(timed.reason, StopReason::budget);
  EXPECT_GE(timed.seconds, 0.05);
  EXPECT_LT(timed.seconds, 5);
  auto epochs = minimize(testing::small_mlp(), methods::adam(), {.epochs = 2, .batch_size = 20});
  EXPECT_EQ(epochs.reason, StopReason::epochs);
  EXPECT_EQ(epochs.steps, 6);
}

TEST(Minimizer, stops_at_a_small_gradient) {
  auto objective = testing::small_mlp();
  auto summary = minimize(objective, methods::hessian_free(), {.steps = 2000, .gradient_norm = 1e-3});
  EXPECT_EQ(summary.reason, StopReason::gradient_norm);
  double norm = objective.value_and_gradient().second.norm().item<double>();
  EXPECT_LE(norm, 1e-3);
  EXPECT_NEAR(summary.gradient_norm, norm, 1e-12);
}

TEST(Minimizer, refuses_options_that_cannot_be_meant) {
  EXPECT_THAT(refusal({}), HasSubstr("nothing says when to stop"));
  EXPECT_THAT(refusal({.steps = -1}), HasSubstr("steps = -1"));
  EXPECT_THAT(refusal({.target = "loss"}), HasSubstr("loss<=1e-4"));
  EXPECT_THAT(refusal({.steps = 1, .target = "los<=1"}), HasSubstr("did you mean loss?"));
  EXPECT_THROW(seconds(0), Error);
}

TEST(Minimizer, ends_divergence_at_the_last_good_parameters) {
  // x = 1, then -1e30 with a loss of 2.5e119, then 1e120, whose fourth power is infinite.
  Tensor x = torch::ones({1}, f64()).requires_grad_();
  auto objective = Objective::function({{"x", x}}, [x] { return x.pow(4).sum() / 4; });
  auto summary =
      minimize(objective, methods::sgd({.learning_rate = 1e30}), {.steps = 1000, .max_failures = 4});
  EXPECT_EQ(summary.reason, StopReason::numerical_failure);
  EXPECT_EQ(summary.failed_steps, 4);
  EXPECT_EQ(summary.steps, 6);
  EXPECT_DOUBLE_EQ(objective.layout().theta()[0].item<double>(), 1 - 1e30);
  EXPECT_NEAR(summary.final_loss / 2.5e119, 1, 1e-12);
}

TEST(Minimizer, says_when_nothing_goes_down_any_more) {
  // On (x^2 - y^2) / 2 at x = 0 the signed inverse goes up, and a line search refuses that.
  Tensor p = torch::tensor({0.0, 0.5}, f64()).requires_grad_();
  auto saddle = Objective::function({{"p", p}}, [p] { return (p[0] * p[0] - p[1] * p[1]) / 2; });
  auto method = methods::inverse_correction(
      {.learning_rate = 0.01, .curvature = CurvatureMode::signed_values, .line_search = true});
  auto summary = minimize(saddle, method, {.steps = 1000, .max_rejections = 3});
  EXPECT_EQ(summary.reason, StopReason::stalled);
  EXPECT_EQ(summary.steps, 3);
  EXPECT_EQ(summary.rejected_steps, 3);
  EXPECT_EQ(summary.final_loss, -0.125);
}

TEST(Minimizer, stops_where_steps_vanish) {
  auto objective = testing::rosenbrock();
  auto summary = minimize(objective, methods::lbfgs(), {.steps = 5000, .max_rejections = 5});
  EXPECT_EQ(summary.reason, StopReason::stalled) << summary.brief_report();
  EXPECT_LT(summary.final_loss, 1e-25);
}

class Recorder : public Observer {
 public:
  void on_start(const Minimizer&) override { log += "s"; }
  void on_step(const StepRecord& record, const Minimizer& minimizer) override {
    log += ".";
    steps.push_back(record);
    if (record.step == interrupt_at) request_interrupt(SIGINT);
    if (archive && record.step == save_at) minimizer.save(*archive);
  }
  void on_evaluation(const Evaluation& evaluation, const Minimizer&) override {
    log += "e";
    evaluations.push_back(evaluation);
  }
  void on_end(const Summary&, const Minimizer&) override { log += "|"; }

  std::string log;
  std::vector<StepRecord> steps;
  std::vector<Evaluation> evaluations;
  int64_t interrupt_at = -1, save_at = -1;
  Archive* archive = nullptr;
};

TEST(Minimizer, tells_its_observers) {
  auto observe = [](MinimizeOptions options) {
    auto recorder = std::make_shared<Recorder>();
    options.observers = {recorder};
    minimize(testing::small_mlp(), methods::adam(), options);
    return recorder->log;
  };
  EXPECT_EQ(observe({.steps = 3}), "se.e.e.e|");                        // full batch: every step
  EXPECT_EQ(observe({.steps = 7, .batch_size = 16}), "se...e...e.e|");  // every epoch, and the end
  EXPECT_EQ(observe({.steps = 4, .batch_size = 16, .evaluate_every = 2}), "se..e..e|");
}

TEST(Minimizer, stops_when_interrupted) {
  auto recorder = std::make_shared<Recorder>();
  recorder->interrupt_at = 4;
  auto summary = minimize(testing::small_mlp(), methods::adam(), {.steps = 100, .observers = {recorder}});
  clear_interrupt();
  EXPECT_EQ(summary.reason, StopReason::interrupted);
  EXPECT_EQ(summary.steps, 4);
}

// An interrupt inside the solver leaves the run where the last whole step had brought it.
TEST(Minimizer, gives_up_a_step_that_is_interrupted_half_way) {
  auto expected = testing::small_mlp();
  minimize(expected, methods::hessian_free(), {.steps = 2});
  auto objective = testing::small_mlp();
  Stepper stepper(objective, methods::hessian_free());
  stepper.step();
  stepper.step();
  request_interrupt(SIGTERM);
  auto record = stepper.step();
  clear_interrupt();
  EXPECT_TRUE(record.interrupted);
  EXPECT_EQ(stepper.steps(), 2);
  EXPECT_TRUE(objective.layout().theta().equal(expected.layout().theta()));
}

class SquaredNorm : public Regularizer {
 public:
  std::string name() const override { return "squared_norm"; }
  Tensor value(const ParameterLayout& layout) const override {
    Tensor sum = torch::zeros({}, f64());
    for (const auto& leaf : layout.leaves()) sum = sum + leaf.square().sum();
    return 0.1 * sum;
  }
};

TEST(Minimizer, reports_the_loss_without_regularisers) {
  for (const auto& method : {methods::adam(), methods::lbfgs(), methods::hessian_free()}) {
    auto plain = testing::small_mlp();
    Objective objective(plain.terms(), {std::make_shared<SquaredNorm>()});
    auto summary = minimize(objective, method, {.steps = 5});
    EXPECT_DOUBLE_EQ(summary.final_loss, plain.value()) << method.name();
    EXPECT_GT(objective.value(), plain.value());
  }
}

// Dropout is for steps; the loss that is reported is the network's without it.
TEST(Minimizer, evaluates_in_evaluation_mode_and_leaves_no_trace) {
  torch::manual_seed(8);
  torch::nn::Sequential net(torch::nn::Linear(2, 8), torch::nn::BatchNorm1d(8), torch::nn::Dropout(0.5),
                            torch::nn::Linear(8, 1));
  net->to(torch::kFloat64);
  Objective objective(net, MeanSquaredError(), testing::small_data().full());
  auto summary = minimize(objective, methods::adam(), {.steps = 4});
  const auto& model = objective.terms()[0].model;
  EXPECT_TRUE(model.training());
  for (const auto& buffer : model.buffers()) {
    if (buffer.name.find("num_batches") == std::string::npos) continue;
    EXPECT_EQ(buffer.tensor.item<int64_t>(), 4);
  }
  model.train(false);
  EXPECT_DOUBLE_EQ(summary.final_loss, objective.value());
}

TEST(Minimizer, resumes_where_it_was_saved) {
  for (const auto& [method, batch_size] :
       {std::pair(methods::adam(), int64_t{16}), std::pair(methods::hessian_free(), int64_t{16}),
        std::pair(methods::lbfgs(), full_batch)}) {
    Archive archive("test", 1);
    auto recorder = std::make_shared<Recorder>();
    recorder->save_at = 4;
    recorder->archive = &archive;
    auto objective = testing::small_mlp();
    MinimizeOptions options{.steps = 9, .seed = 3, .batch_size = batch_size, .observers = {recorder}};
    auto whole = minimize(objective, method, options);

    auto fresh = testing::small_mlp();
    fresh.layout().assign(torch::zeros({fresh.parameters()}, f64()));
    auto second = std::make_shared<Recorder>();
    options.observers = {second};
    Minimizer minimizer(fresh, method, options);
    minimizer.load(archive);
    auto resumed = minimizer.run();
    EXPECT_TRUE(fresh.layout().theta().equal(objective.layout().theta())) << method.name();
    EXPECT_EQ(resumed.final_loss, whole.final_loss);
    EXPECT_EQ(resumed.initial_loss, whole.initial_loss);
    EXPECT_EQ(resumed.steps, whole.steps);
    EXPECT_EQ(resumed.gradient_equivalents, whole.gradient_equivalents);
    EXPECT_EQ(second->steps.size(), 5u);
    EXPECT_EQ(second->steps.front().step, 5);
    EXPECT_EQ(second->log, batch_size == full_batch ? "s.e.e.e.e.e|" : "s..e...e|") << method.name();
  }
}

// Two runs that take turns: each goes through the bits it goes through alone.
TEST(Minimizer, advances_in_slices) {
  auto methods = {methods::adam(), methods::hessian_free()};
  std::vector<Objective> objectives;
  std::vector<std::unique_ptr<Minimizer>> turns;
  std::vector<std::shared_ptr<Recorder>> recorders;
  MinimizeOptions options{.budget = gradient_equivalents(40), .seed = 3, .batch_size = 16};
  for (const auto& method : methods) {
    recorders.push_back(std::make_shared<Recorder>());
    options.observers = {recorders.back()};
    objectives.push_back(testing::small_mlp());
    turns.push_back(std::make_unique<Minimizer>(objectives.back(), method, options));
  }
  options.observers = {};
  EXPECT_EQ(turns[0]->advance(gradient_equivalents(2)), std::nullopt);
  EXPECT_DOUBLE_EQ(turns[0]->stepper().gradient_equivalents(), 2);
  EXPECT_EQ(turns[1]->advance(gradient_equivalents(1e-9)), std::nullopt);
  EXPECT_EQ(turns[1]->stepper().steps(), 1);
  std::vector<std::optional<Summary>> summaries(2);
  while (!summaries[0] || !summaries[1])
    for (size_t i = 0; i < 2; ++i)
      if (!summaries[i]) summaries[i] = turns[i]->advance(gradient_equivalents(7));
  size_t i = 0;
  for (const auto& method : methods) {
    auto alone = testing::small_mlp();
    auto whole = minimize(alone, method, options);
    EXPECT_TRUE(alone.layout().theta().equal(objectives[i].layout().theta())) << method.name();
    EXPECT_EQ(summaries[i]->steps, whole.steps);
    EXPECT_EQ(summaries[i]->final_loss, whole.final_loss);
    EXPECT_EQ(summaries[i]->reason, StopReason::budget);
    EXPECT_EQ(recorders[i]->log.find('s'), 0u);
    EXPECT_EQ(recorders[i]->log.rfind('s'), 0u);
    EXPECT_EQ(recorders[i]->log.find('|'), recorders[i]->log.size() - 1);
    ++i;
  }
}

// ---- require_psd ----

// x^2/2 - c y^2/2 + y^4/4: a saddle at 0, minima of -c^2/4 at (0, +-sqrt(c)).
Objective saddle(double x0, double y0, double c = 1) {
  Tensor p = torch::tensor({x0, y0}, testing::f64()).requires_grad_();
  return Objective::function({{"p", p}},
                             [=] { return p[0].square() / 2 - c * p[1].square() / 2 + p[1].pow(4) / 4; });
}

TEST(RequirePsd, leaves_a_saddle_and_certifies_the_minimum) {
  for (const auto& method : {methods::sgd({.learning_rate = 0.3}), methods::lbfgs(), methods::trust_region(),
                             methods::adam({.learning_rate = 0.05})}) {
    auto plain = saddle(1, 0), objective = saddle(1, 0);
    MinimizeOptions options{.steps = 2000, .gradient_norm = 1e-6};
    EXPECT_NEAR(minimize(plain, method, options).final_loss, 0, 1e-10) << method.name();
    options.require_psd = 1e-3;
    auto summary = minimize(objective, method, options);
    EXPECT_NEAR(summary.final_loss, -0.25, 1e-10) << summary.brief_report();
    EXPECT_EQ(summary.reason, StopReason::gradient_norm) << method.name();
    EXPECT_EQ(summary.negative_curvature_steps, 1) << method.name();
    ASSERT_TRUE(summary.smallest_eigenvalue) << method.name();
    EXPECT_EQ(summary.smallest_eigenvalue->verdict, MinimumEigenvalueVerdict::certified);
    EXPECT_NEAR(summary.smallest_eigenvalue->value, 1, 1e-4);  // diag(1, 3 y^2 - 1) at y = +-1
    EXPECT_EQ(summary.smallest_eigenvalue->tolerance, 1e-3);
    EXPECT_LE(summary.smallest_eigenvalue->failure_probability, 0.01);
    EXPECT_FALSE(summary.smallest_eigenvalue->vector.defined());
    EXPECT_THAT(summary.full_report(), HasSubstr("certified: smallest eigenvalue >= -0.001"));
  }
}

TEST(RequirePsd, goes_far_along_weak_curvature) {
  auto objective = saddle(0.1, 0, 1e-2);
  MinimizeOptions options{.steps = 3000, .gradient_norm = 1e-8, .require_psd = 1e-3};
  auto summary = minimize(objective, methods::sgd({.learning_rate = 0.5}), options);
  EXPECT_NEAR(summary.final_loss, -2.5e-5, 1e-9) << summary.brief_report();
  EXPECT_EQ(summary.negative_curvature_steps, 1);
}

TEST(RequirePsd, says_what_holds_at_the_end_of_any_run) {
  auto objective = saddle(1, 0);
  auto stopped = minimize(objective, methods::sgd({.learning_rate = 0.1}), {.steps = 3, .require_psd = 1e-3});
  EXPECT_EQ(stopped.reason, StopReason::steps);
  ASSERT_TRUE(stopped.smallest_eigenvalue);
  EXPECT_EQ(stopped.smallest_eigenvalue->verdict, MinimumEigenvalueVerdict::negative);
  EXPECT_NEAR(stopped.smallest_eigenvalue->value, -1, 1e-9);
  EXPECT_THAT(stopped.full_report(), HasSubstr("not certified: a direction with curvature -1"));
  auto without = minimize(saddle(1, 0), methods::sgd({.learning_rate = 0.1}), {.steps = 3});
  EXPECT_FALSE(without.smallest_eigenvalue);
}

TEST(RequirePsd, says_how_sure_it_is_where_that_is_a_question) {
  MinimumEigenvalue found;
  found.verdict = MinimumEigenvalueVerdict::certified;
  found.value = 2;
  found.tolerance = 1e-3;
  found.failure_probability = 0;
  found.products = 3;
  EXPECT_EQ(verdict_in_words(found),
            "certified: smallest eigenvalue >= -0.001; lowest seen 2 after 3 products");
  found.failure_probability = 0.004;
  EXPECT_THAT(verdict_in_words(found), HasSubstr(">= -0.001 except with probability 0.004; lowest"));
}

TEST(RequirePsd, resumes_to_the_same_bits) {
  MinimizeOptions options{.steps = 1000, .gradient_norm = 1e-3, .require_psd = 1e-3};
  auto method = methods::momentum({.learning_rate = 0.1});
  auto whole = saddle(1, 0);
  auto summary = minimize(whole, method, options);
  EXPECT_GE(summary.negative_curvature_steps, 1);
  auto first = saddle(1, 0), second = saddle(1, 0);
  options.steps = summary.steps - 4;
  Minimizer begun(first, method, options);
  begun.run();
  Archive archive("test", 1);
  begun.save(archive);
  options.steps = 1000;
  Minimizer resumed(second, method, options);
  resumed.load(archive);
  auto end = resumed.run();
  EXPECT_TRUE(second.layout().theta().equal(whole.layout().theta()));
  EXPECT_EQ(end.negative_curvature_steps, summary.negative_curvature_steps);
  EXPECT_EQ(end.steps, summary.steps);
}

TEST(Minimizer, begun_beyond_its_steps_makes_no_more) {
  auto objective = testing::small_mlp();
  Minimizer longer(objective, methods::adam(), {.steps = 7});
  longer.run();
  Archive archive("test", 1);
  longer.save(archive);
  Minimizer shorter(objective, methods::adam(), {.steps = 2});
  shorter.load(archive);
  EXPECT_EQ(shorter.run().message, "7 steps are made, and 2 were asked for");
}

TEST(Summary, reports_what_happened) {
  auto summary = minimize(testing::small_mlp(), methods::adam(), {.steps = 7, .target = "loss<=1e-9"});
  EXPECT_THAT(summary.brief_report(), HasSubstr("adam: loss "));
  EXPECT_THAT(summary.brief_report(), HasSubstr("7 steps"));
  EXPECT_THAT(summary.brief_report(), HasSubstr("stopped: 7 of 7 steps made (target missed)"));
  EXPECT_THAT(summary.full_report(), HasSubstr("7 gradient equivalents"));
  EXPECT_THAT(summary.full_report(), HasSubstr("missed"));
}

}  // namespace
}  // namespace osculant
