#include "osculant/study/through.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/study/checkpoint_files.h"
#include "osculant/study/training.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

class ThroughTraining : public ::testing::Test {
 protected:
  ThroughTraining() : folder_(::testing::TempDir() + "through" + std::to_string(::getpid())) {
    std::filesystem::remove_all(folder_);
  }
  ~ThroughTraining() override { std::filesystem::remove_all(folder_); }

  // A training with a checkpoint every two steps, left in folder_/training.
  RunConfig train_for(const std::string& method, double rate) {
    RunConfig config;
    config.read_text(
        "[model]\nkind = \"mlp\"\nwidths = [1, 5, 1]\nactivation = \"tanh\"\n"
        "[data]\nkind = \"sinc\"\nexamples = 60\n[loss]\nkind = \"mse\"\n"
        "[train]\nbatch_size = \"full\"\nsteps = 8\ncheckpoint_every = 2\nkeep_checkpoints = 10\n"
        "[run]\ndtype = \"float64\"\nthreads = 1\n",
        "run.toml");
    config.set("train.method", method, "--method");
    config.train.options["learning_rate"] = rate;
    Problem problem = load_problem(config);
    plan_training(problem, config);
    ResultDirectory folder(folder_ + "/training", Existing::refuse);
    folder.write("run.toml", config.to_toml());
    train(problem, config, folder, /*resume=*/false, [](const std::string&) {});
    config.analyze.through = folder_ + "/training";
    return config;
  }

  Result look(RunConfig& config, const Problem& problem) {
    plan_through(problem, config);
    ResultDirectory folder(folder_ + "/through", Existing::overwrite);
    return analyze_through(problem, config, folder, [](const std::string&) {});
  }

  std::string folder_;
};

TEST_F(ThroughTraining, FindsTheSpectrumOfEachCheckpoint) {
  RunConfig config = train_for("sgd", 0.05);
  Problem problem = load_problem(config);
  Tensor before = problem.model.layout().theta().clone();
  Result result = look(config, problem);
  const auto& points = result.through->points;
  ASSERT_EQ(points.size(), 4u);
  EXPECT_TRUE(at::equal(problem.model.layout().theta(), before)) << "the model is left as it was";
  for (size_t i = 0; i < points.size(); ++i) {
    EXPECT_EQ(points[i].step, static_cast<int64_t>(2 * i + 2));
    auto file =
        folder_ + "/training/checkpoints/step-00000000" + std::to_string(points[i].step) + ".safetensors";
    problem.model.layout().assign(checkpoint_theta(file, problem.model));
    Tensor l = at::linalg_eigvalsh(dense(Hessian(problem.objective(60))).matrix);
    EXPECT_NEAR(points[i].largest[0].value, l.max().item<double>(), points[i].largest[0].distance + 1e-12);
    EXPECT_NEAR(points[i].smallest[0].value, l.min().item<double>(), points[i].smallest[0].distance + 1e-12);
    double stable = (l.square().sum() / l.square().max()).item<double>();
    EXPECT_LE(points[i].stable_rank.low, stable);
    EXPECT_GE(points[i].stable_rank.high, stable);
    EXPECT_NEAR(points[i].loss, problem.objective(60).value(), 1e-12);
  }
  EXPECT_LT(points.back().loss, points.front().loss);
}

TEST_F(ThroughTraining, KnowsWhatTheStepIsStableBelow) {
  RunConfig config = train_for("momentum", 0.001);
  Problem problem = load_problem(config);
  Result result = look(config, problem);
  EXPECT_NEAR(result.through->stability_limit, 3800, 1e-9) << "(2 + 2 * 0.9) / 0.001";
  EXPECT_THAT(result.through->words, HasSubstr("stays below 3800"));
}

TEST(StabilityWords, NameTheEdge) {
  ThroughRecord through;
  through.stability_limit = 20;
  through.limit_words = "2 / eta at eta = 0.1";
  for (auto [step, value] : {std::pair{1, 5.0}, {10, 19.0}, {20, 21.0}, {30, 30.0}}) {
    ThroughRecord::Point point;
    point.step = step;
    point.largest = {{value, 0, 0}};
    through.points.push_back(point);
  }
  auto words = stability_words(through);
  EXPECT_THAT(words, HasSubstr("goes from 5 at step 1 to 30 at step 30"));
  EXPECT_THAT(words, HasSubstr("Edge of stability: it is within 20 % of 20 (2 / eta at eta = 0.1) at 2 of 4 "
                               "checkpoints, steps 10 to 20"));
  EXPECT_THAT(words, HasSubstr("At 1 of 4 checkpoints, the first at step 30, it is beyond 20"));
  through.stability_limit = std::nan("");
  through.limit_words = "adam scales its steps";
  EXPECT_THAT(stability_words(through), HasSubstr("is unknown: adam scales its steps"));
}

TEST_F(ThroughTraining, NamesWhatIsMissing) {
  RunConfig config = train_for("adam", 0.01);
  Problem problem = load_problem(config);
  config.analyze.through = folder_;
  EXPECT_THAT(message_of([&] { plan_through(problem, config); }), HasSubstr("there are no checkpoints"));
}

}  // namespace
}  // namespace osculant
