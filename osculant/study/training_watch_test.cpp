// Trainings with a planted fault, each with what has to be said of it, and trainings without one.
#include "osculant/study/training_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <unistd.h>

#include <filesystem>

#include "osculant/base/log.h"
#include "osculant/base/testing.h"
#include "osculant/base/text.h"
#include "osculant/model/zoo.h"
#include "osculant/optim/methods.h"
#include "osculant/study/checkpoint_files.h"
#include "osculant/study/training.h"

namespace osculant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Watched {
  Summary summary;
  WatchRecord record;

  const WatchWarning* find(const std::string& kind) const {
    for (const auto& warning : record.warnings)
      if (warning.kind == kind) return &warning;
    return nullptr;
  }
  std::string kinds() const {
    std::string list;
    for (const auto& warning : record.warnings) list += warning.kind + ": " + warning.message + "\n";
    return list;
  }
};

class TrainingWatchTest : public ::testing::Test {
 protected:
  TrainingWatchTest() {
    set_log_sink([](LogLevel, const std::string&) {});
  }
  ~TrainingWatchTest() override { set_log_sink(nullptr); }

  static Watched train(const Objective& objective, const std::string& method, OptionMap options,
                       int64_t steps, int64_t batch_size = full_batch) {
    TrainConfig config;
    config.method = method;
    config.options = options;
    int64_t batch = std::min(batch_size, objective.examples());
    auto watch = std::make_shared<TrainingWatch>(objective, batch,
                                                 TrainingWatchOptions{.limit = stability_limit(config)});
    MinimizeOptions run{.steps = steps, .batch_size = batch_size, .evaluate_every = steps};
    run.observers = {watch};
    Watched watched{minimize(objective, find_method(method).make(options), run), watch->record()};
    EXPECT_LE(watched.record.gradient_equivalents, 0.05 * watched.summary.gradient_equivalents);
    return watched;
  }
};

Tensor normal(std::vector<int64_t> shape, const char* name) {
  return RandomStream(1, name).normal(shape, at::kFloat);
}

Model network(std::vector<int64_t> widths, Activation activation) {
  MlpOptions options{.widths = std::move(widths), .activation = activation};
  return mlp(options);
}

Objective classes(Model model, int64_t examples = 600, int64_t piece = 600) {
  Tensor x = normal({examples, 8}, "inputs");
  return {std::move(model), CrossEntropy(), Dataset(x, (x.select(1, 0) > 0).to(at::kLong)).batches(piece)};
}

Objective regression(int64_t examples = 300) {
  Tensor x = normal({examples, 4}, "inputs");
  return {network({4, 16, 1}, Activation::tanh), MeanSquaredError(),
          Dataset(x, at::sin(x.narrow(1, 0, 1)) + 0.1 * normal({examples, 1}, "noise")).full()};
}

// ---- what goes wrong ----

TEST_F(TrainingWatchTest, AVanishingStackIsSaid) {
  std::vector<int64_t> widths(22, 50);
  widths.front() = 8;
  widths.back() = 2;
  Watched run = train(classes(network(widths, Activation::sigmoid)), "adam", {}, 20);
  const WatchWarning* found = run.find("dead_signal");
  ASSERT_TRUE(found) << run.kinds();
  EXPECT_THAT(found->message, HasSubstr("the gradient at the first layer is"));
  EXPECT_THAT(found->remedy, HasSubstr("critical initialisation"));
  // torch's sigmoid stack: a layer multiplies gradients by 0.14 at width 100 (docs/gradient-flow.md).
  EXPECT_NEAR(found->measured.value, 0.145, 0.01);
}

TEST_F(TrainingWatchTest, GradientsThatVanishAboveRoundingAreSaid) {
  std::vector<int64_t> widths(8, 50);
  widths.front() = 8;
  widths.back() = 2;
  Watched run = train(classes(network(widths, Activation::sigmoid)), "sgd", {}, 20);
  EXPECT_FALSE(run.find("dead_signal"));
  ASSERT_TRUE(run.find("vanishing_gradient")) << run.kinds();
  EXPECT_THAT(run.find("vanishing_gradient")->message,
              HasSubstr("Gradients vanish on the way back: at layer 0"));
}

// f = mean (x'w - y)^2 with H = 2 X'X / N known: eta = 1.5 times what is stable makes |1 - eta l| = 2 a step.
TEST_F(TrainingWatchTest, ATooLargeStepMeetsTwoOverEtaAndOverflow) {
  Tensor x = normal({200, 3}, "inputs") * at::tensor({1.0F, 0.3F, 0.1F});
  Tensor w = at::zeros({3, 1}).requires_grad_();
  Model line({{"w", w}}, [w](const Model::Inputs& x) { return Model::Outputs{x[0].mm(w)}; });
  Objective objective(line, MeanSquaredError(), Dataset(x, x.sum(1, true)).full());
  double largest = at::linalg_eigvalsh(2 * x.t().mm(x) / 200)[-1].item<double>();
  Watched run = train(objective, "sgd", {{"learning_rate", 3 / largest}}, 60);
  const WatchWarning* found = run.find("overflow_ahead");
  ASSERT_TRUE(found) << run.kinds();
  EXPECT_THAT(found->message, AllOf(HasSubstr("it overflows"), HasSubstr("2 / eta")));
  EXPECT_NEAR(found->measured.value, 2, 0.05);
  EXPECT_THAT(found->message, HasSubstr("the curvature is " + format_number(largest).substr(0, 3)));
}

// The same, 2 % beyond what is stable: it would take hundreds of steps to be seen by its growth.
TEST_F(TrainingWatchTest, AStepALittleTooLargeMeetsTwoOverEta) {
  Tensor x = normal({60, 3}, "inputs") * at::tensor({1.0F, 0.3F, 0.1F});
  Tensor w = at::zeros({3, 1}).requires_grad_();
  Model line({{"w", w}}, [w](const Model::Inputs& x) { return Model::Outputs{x[0].mm(w)}; });
  Objective objective(line, MeanSquaredError(), Dataset(x, x.sum(1, true)).full());
  double largest = at::linalg_eigvalsh(2 * x.t().mm(x) / 60)[-1].item<double>();
  double rate = 2.04 / largest;
  Watched run = train(objective, "sgd", {{"learning_rate", rate}}, 700);
  const WatchWarning* found = run.find("unstable_step");
  ASSERT_TRUE(found) << run.kinds() << run.record.words;
  EXPECT_NEAR(found->measured.value, largest, 1e-4 * largest);  // 60 examples: all of them
  EXPECT_THAT(found->message, AllOf(HasSubstr("2 / eta at eta ="), HasSubstr("the loss does not fall")));
  EXPECT_THAT(found->remedy, HasSubstr("A learning rate below " + format_number(2 / largest).substr(0, 4)));
  objective.layout().assign(at::zeros({3}));
  Watched stable = train(objective, "sgd", {{"learning_rate", 1.9 / largest}}, 700);
  EXPECT_THAT(stable.record.warnings, IsEmpty()) << stable.kinds();
}

TEST_F(TrainingWatchTest, TheLayerWhereNumbersEndIsNamed) {
  torch::nn::Sequential net(torch::nn::Linear(8, 8), torch::nn::Linear(8, 8), torch::nn::Linear(8, 2));
  Model model(net);
  torch::NoGradGuard no_grad;
  model.layout().unflatten(model.layout().theta())[2].fill_(1e38);
  at::AutoGradMode on(true);
  Watched run = train(classes(model, 600, 50), "sgd", {}, 10, 50);
  const WatchWarning* found = run.find("not_finite");
  ASSERT_TRUE(found) << run.kinds();
  EXPECT_THAT(found->message, AllOf(HasSubstr("Step 1 was not made"), HasSubstr("unknown")));
}

TEST_F(TrainingWatchTest, APlateauOfPureNoiseIsCalledSo) {
  Tensor x = normal({2000, 8}, "inputs");
  Tensor y = (normal({2000}, "labels") > 0).to(at::kLong);
  Objective objective(network({8, 4, 2}, Activation::tanh), CrossEntropy(), Dataset(x, y).batches(20));
  Watched run = train(objective, "sgd", {{"learning_rate", 0.01}}, 2500, 20);
  const WatchWarning* found = run.find("plateau");
  ASSERT_TRUE(found) << run.kinds() << run.record.words;
  EXPECT_THAT(found->message, HasSubstr("Noise is larger than the gradient: batches have 20 examples"));
  EXPECT_GT(found->measured.low, 20);
}

// A deep linear network from weights near 0: loss 1, gradient 0, curvatures +-2 mean x^2.
TEST_F(TrainingWatchTest, APlateauOnASaddleIsCalledSo) {
  Tensor theta = at::full({2}, 1e-6F).requires_grad_();
  Model product({{"theta", theta}}, [theta](const Model::Inputs& x) -> Model::Outputs {
    return {(theta[0] * theta[1]) * x[0].narrow(1, 0, 1)};
  });
  Tensor x = normal({300, 1}, "inputs");
  Watched run =
      train({product, MeanSquaredError(), Dataset(x, x).full()}, "sgd", {{"learning_rate", 1e-3}}, 600);
  ASSERT_TRUE(run.find("plateau")) << run.kinds() << run.record.words;
  EXPECT_THAT(run.find("plateau")->message, HasSubstr("It is a saddle"));
  EXPECT_LT(run.find("plateau")->measured.high, -0.5);
  EXPECT_LT(run.find("plateau")->measured.low, -2);
}

TEST_F(TrainingWatchTest, StepsTooSmallAreCalledSo) {
  for (const char* method : {"sgd", "adam"}) {
    Watched run = train(regression(), method, {{"learning_rate", 1e-7}}, 600);
    ASSERT_TRUE(run.find("plateau")) << run.kinds() << run.record.words;
    EXPECT_THAT(run.find("plateau")->message, HasSubstr("Steps are too small"));
    EXPECT_GT(run.find("plateau")->measured.low, 10);
  }
}

// f = mean (x'w - y)^2 with curvatures 2 and 2e-5: at a stable step the second takes 5e4 steps.
TEST_F(TrainingWatchTest, AValleyIsCalledSo) {
  Tensor x = normal({300, 2}, "inputs").to(at::kDouble) * at::tensor({1.0, 0.003}, at::kDouble);
  Tensor w = at::zeros({2, 1}, at::kDouble).requires_grad_();
  Model line({{"w", w}}, [w](const Model::Inputs& x) { return Model::Outputs{x[0].mm(w)}; });
  Tensor y = x.mm(at::tensor({1.0, 300.0}, at::kDouble).view({2, 1}));
  Watched run =
      train({line, MeanSquaredError(), Dataset(x, y).full()}, "sgd", {{"learning_rate", 0.5}}, 1000);
  ASSERT_TRUE(run.find("plateau")) << run.kinds() << run.record.words;
  EXPECT_THAT(run.find("plateau")->message, HasSubstr("It is a valley"));
}

// ---- nothing goes wrong ----

TEST_F(TrainingWatchTest, HealthyTrainingsGetNoWarning) {
  struct Case {
    const char* method;
    OptionMap options;
    int64_t steps, batch_size;
  };
  for (const auto& [method, options, steps, batch_size] :
       {Case{"sgd", {{"learning_rate", 0.1}}, 300, 50}, Case{"momentum", {{"learning_rate", 0.02}}, 300, 50},
        Case{"adam", {}, 300, 50}, Case{"muon", {}, 200, 50}, Case{"soap", {}, 200, 50},
        Case{"sgd", {{"learning_rate", 0.2}}, 300, full_batch}, Case{"lbfgs", {}, 60, full_batch},
        Case{"hessian_free", {}, 20, full_batch}, Case{"newton_cg", {}, 20, full_batch}}) {
    Watched run = train(classes(network({8, 32, 2}, Activation::relu)), method, options, steps, batch_size);
    EXPECT_THAT(run.record.warnings, IsEmpty()) << method << ": " << run.kinds();
    EXPECT_LT(run.summary.final_loss, 0.5 * run.summary.initial_loss) << method;
  }
  // To the end and beyond: a loss as low as it can be is no plateau to warn of.
  for (const char* method : {"levenberg_marquardt", "lbfgs", "bfgs"}) {
    Watched run = train(regression(), method, {}, 500);
    EXPECT_THAT(run.record.warnings, IsEmpty()) << method << ": " << run.kinds();
  }
}

TEST_F(TrainingWatchTest, HealthyConvolutionsGetNoWarning) {
  for (bool batch_norm : {false, true}) {
    CnnOptions options{.height = 8, .width = 8, .filters = {4}, .hidden = 8, .outputs = 2};
    options.batch_norm = batch_norm;
    Tensor x = normal({400, 1, 8, 8}, "images");
    Objective objective(cnn(options), CrossEntropy(),
                        Dataset(x, (x.mean({1, 2, 3}) > 0).to(at::kLong)).batches(50));
    objective.terms()[0].model.train();
    Watched run = train(objective, "sgd", {{"learning_rate", 0.1}}, 200, 50);
    EXPECT_THAT(run.record.warnings, IsEmpty()) << run.kinds();
    EXPECT_GT(run.record.flow_looks, 0);
  }
}

// ---- what it does to the training ----

class WatchedRun : public TrainingWatchTest {
 protected:
  WatchedRun() : folder_(::testing::TempDir() + "watched" + std::to_string(::getpid())) {
    std::filesystem::remove_all(folder_);
  }
  ~WatchedRun() override { std::filesystem::remove_all(folder_); }

  Result train_run(const std::string& name, int64_t steps, bool watch, bool resume = false) {
    RunConfig config;
    config.read_text(
        "[model]\nkind = \"mlp\"\nwidths = [64, 12, 3]\nactivation = \"tanh\"\n"
        "[data]\nkind = \"mixture\"\nexamples = 2000\ninputs = 64\noutputs = 3\n"
        "[loss]\nkind = \"cross_entropy\"\n"
        "[train]\nmethod = \"sgd\"\noptions = { learning_rate = 0.05 }\nbatch_size = 250\n"
        "checkpoint_every = 5\n[run]\nthreads = 1\n",
        "run.toml");
    config.train.steps = steps;
    config.train.watch = watch;
    Problem problem = load_problem(config);
    if (!resume) plan_training(problem, config);
    ResultDirectory folder(folder_ + "/" + name, resume ? Existing::resume : Existing::refuse);
    Result result = osculant::train(problem, config, folder, resume, [](const std::string&) {});
    theta_ = problem.model.layout().theta().clone();
    return result;
  }

  std::string folder_;
  Tensor theta_;
};

TEST_F(WatchedRun, HasTheBitsOfOneThatIsNot) {
  Result watched = train_run("watched", 60, true);
  Tensor theta = theta_;
  Result other = train_run("other", 60, false);
  EXPECT_TRUE(theta.equal(theta_));
  EXPECT_EQ(watched.cost.gradient_equivalents, other.cost.gradient_equivalents);
  ASSERT_TRUE(watched.training->watch);
  EXPECT_FALSE(other.training->watch);
  const WatchRecord& watch = *watched.training->watch;
  EXPECT_GT(watch.flow_looks, 0);
  EXPECT_GT(watch.sharpness.size(), 0U);
  EXPECT_GT(watch.gradient_equivalents, 0);
  EXPECT_LE(watch.gradient_equivalents, 0.05 * watched.cost.gradient_equivalents);
}

TEST_F(WatchedRun, GoesOnFromACheckpointToTheSameNumbers) {
  Result whole = train_run("whole", 120, true);
  train_run("parts", 60, true);
  Result parts = train_run("parts", 120, true, /*resume=*/true);
  const WatchRecord &a = *whole.training->watch, &b = *parts.training->watch;
  EXPECT_DOUBLE_EQ(a.gradient_equivalents, b.gradient_equivalents);
  ASSERT_EQ(a.sharpness.size(), b.sharpness.size());
  ASSERT_GT(a.sharpness.size(), 1U);
  for (size_t i = 0; i < a.sharpness.size(); ++i) {
    EXPECT_EQ(a.sharpness[i].step, b.sharpness[i].step);
    EXPECT_EQ(a.sharpness[i].curvature.value, b.sharpness[i].curvature.value);
  }
  EXPECT_EQ(a.words, b.words);
}

// ---- limits ----

TEST(StabilityLimit, IsThatOfTheIteration) {
  // The iteration on f = l x^2 / 2 at the limit keeps its length, from the matrix of (x, v).
  auto radius = [](double eta, double b, bool nesterov, double l) {
    double reach = nesterov ? 1 + b : 1, keep = nesterov ? b * b : b;
    // v' = b v + l x; x' = x - eta (l x + b v') (nesterov) or x - eta v'
    Tensor M = nesterov ? at::tensor({1 - eta * l * reach, -eta * keep, l, b}, at::kDouble).reshape({2, 2})
                        : at::tensor({1 - eta * l, -eta * b, l, b}, at::kDouble).reshape({2, 2});
    return at::linalg_eigvals(M).abs().max().item<double>();
  };
  for (bool nesterov : {false, true}) {
    TrainConfig train;
    train.method = "momentum";
    train.options = {{"learning_rate", 0.3}, {"momentum", 0.8}, {"nesterov", nesterov}};
    StabilityLimit limit = stability_limit(train);
    EXPECT_NEAR(radius(0.3, 0.8, nesterov, limit.curvature), 1, 1e-9);
    EXPECT_GT(radius(0.3, 0.8, nesterov, 1.01 * limit.curvature), 1);
    for (double r : {1.0, 1.5, 3.0}) {
      if (nesterov) continue;
      EXPECT_NEAR(radius(0.3, 0.8, false, curvature_of_growth(limit, r)), r, 1e-9);
    }
  }
  TrainConfig plain;
  plain.method = "sgd";
  plain.options = {{"learning_rate", 0.1}, {"weight_decay", 1.0}};
  EXPECT_NEAR(stability_limit(plain).curvature, 19, 1e-12);
  plain.method = "adam";
  EXPECT_TRUE(std::isnan(stability_limit(plain).curvature));
}

}  // namespace
}  // namespace osculant
