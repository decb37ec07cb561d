#include "osculant/study/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "osculant/base/testing.h"

namespace osculant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunConfig parsed(const std::string& text) {
  RunConfig config;
  config.read_text(text, "run.toml");
  return config;
}

template <class Function>
std::string refusal(Function f) {
  return message_of(f, ErrorKind::usage);
}

const char* const whole = R"([model]
kind = "mlp"
widths = [784, 256, 128, 10]
activation = "relu"
[data]
kind = "fashion_mnist"
test = "split"
scale = 255.0
[loss]
kind = "cross_entropy"
[metrics]
names = ["accuracy"]
[train]
method = "soap"
batch_size = 256
budget = "60s"
target = "test.accuracy>=0.88"
options = { learning_rate = 3e-3, nesterov = true, inverse = "absolute" }
[analyze]
eigenvalues = 10
[run]
seed = 0
dtype = "float32"
device = "cpu"
threads = 0
memory_budget = "half"
out = "runs/first"
)";

TEST(RunConfig, ReadsEveryKindOfValue) {
  RunConfig config = parsed(whole);
  EXPECT_EQ(config.model.kind, "mlp");
  EXPECT_THAT(config.model.widths, ElementsAre(784, 256, 128, 10));
  EXPECT_EQ(config.data.scale, 255.0);
  EXPECT_THAT(config.metrics, ElementsAre("accuracy"));
  EXPECT_EQ(config.train.batch_size, "256");
  EXPECT_EQ(config.train.target, "test.accuracy>=0.88");
  EXPECT_EQ(config.analyze.eigenvalues, 10);
  EXPECT_EQ(config.run.memory_budget, "half");
  EXPECT_FALSE(config.train.steps.has_value());
  ASSERT_EQ(config.train.options.size(), 3u);
  const OptionMap& options = config.train.options;
  EXPECT_EQ(options.at("inverse"), OptionValue("absolute"));
  EXPECT_EQ(options.at("learning_rate"), OptionValue(3e-3));
  EXPECT_EQ(options.at("nesterov"), OptionValue(true));
}

TEST(RunConfig, WrittenAndReadAgainIsTheSame) {
  RunConfig config = parsed(whole);
  config.data.path = "odd \"name\"\\ of a file";
  std::string once = config.to_toml();
  EXPECT_EQ(parsed(once).to_toml(), once);
  EXPECT_EQ(parsed(once).data.path, config.data.path);
}

TEST(RunConfig, OptionsAloneAreWrittenToo) {
  EXPECT_EQ(parsed("[train]\noptions = { damping = 1 }\n").to_toml(),
            "[train]\noptions = { damping = 1.0 }\n");
}

TEST(RunConfig, UnknownKeyNamesLineAndTheNearestKey) {
  EXPECT_EQ(refusal([] { parsed("[train]\nmethod = \"adam\"\nbatchsize = 3\n"); }),
            "run.toml:3: unknown key train.batchsize; did you mean train.batch_size?");
  EXPECT_EQ(refusal([] { parsed("[trian]\nmethod = \"adam\"\n"); }),
            "run.toml:1: unknown key trian; did you mean train?");
  EXPECT_EQ(refusal([] { parsed("[model]\nseed = 1\n"); }),
            "run.toml:2: unknown key model.seed; did you mean run.seed?");
}

TEST(RunConfig, WrongTypesNameLineValueAndWhatWasExpected) {
  EXPECT_EQ(refusal([] { parsed("[train]\nsteps = \"ten\"\n"); }),
            "run.toml:2: train.steps = \"ten\": must be an integer >= 1");
  EXPECT_EQ(refusal([] { parsed("[train]\nsteps = 0\n"); }),
            "run.toml:2: train.steps = 0: must be an integer >= 1");
  EXPECT_EQ(
      refusal([] { parsed("[model]\nkind = 3\n"); }),
      "run.toml:2: model.kind = 3: must be one of exported, mlp, autoencoder, cnn, resnet, transformer");
  EXPECT_EQ(refusal([] { parsed("[model]\nwidths = [784, 0]\n"); }),
            "run.toml:2: model.widths = [ 784, 0 ]: must be a list of integers >= 1");
  EXPECT_EQ(refusal([] { parsed("[train]\nbudget = \"60 minutes\"\n"); }),
            "run.toml:2: train.budget = \"60 minutes\": must be seconds as \"60s\" or gradient equivalents "
            "as \"500ge\"");
  EXPECT_EQ(refusal([] { parsed("[data]\nscale = nan\n"); }),
            "run.toml:2: data.scale = nan: must be a number > 0");
  EXPECT_THAT(refusal([] { parsed("[train]\nsteps = = 2\n"); }), HasSubstr("run.toml:2: "));
}

TEST(RunConfig, ASectionGivenAValueNamesItsKeys) {
  RunConfig config;
  EXPECT_THAT(refusal([&] { config.set_assignment("metrics=accuracy"); }),
              ::testing::HasSubstr("metrics is a section; its keys are metrics.names"));
}

TEST(RunConfig, LaterSettingsWinAndNameTheirOrigin) {
  RunConfig config = parsed(whole);
  EXPECT_EQ(config.origin("train.method"), "run.toml:14: train.method");
  EXPECT_EQ(config.origin("train.options.learning_rate"), "run.toml:18: train.options.learning_rate");
  EXPECT_EQ(config.origin("train.steps"), "train.steps");
  config.set("train.method", "adam", "--method");
  EXPECT_EQ(config.train.method, "adam");
  EXPECT_EQ(config.origin("train.method"), "--method: train.method");
}

TEST(RunConfig, AssignmentsMayLeaveOutQuotesAndBrackets) {
  RunConfig config;
  config.set_assignment("train.method=adam");
  config.set_assignment("model.widths=4,3,2");
  config.set_assignment("train.target=loss<=1e-4");
  config.set_assignment("train.options.damping=0.5");
  config.set_assignment("run.memory_budget=2GiB");
  config.set_assignment("run.out=2026-01-02");
  config.set_assignment("metrics.names=[\"accuracy\"]");
  EXPECT_EQ(config.train.method, "adam");
  EXPECT_THAT(config.model.widths, ElementsAre(4, 3, 2));
  EXPECT_EQ(config.train.target, "loss<=1e-4");
  EXPECT_EQ(config.train.options.at("damping"), OptionValue(0.5));
  EXPECT_EQ(config.run.memory_budget, "2GiB");
  EXPECT_EQ(config.run.out, "2026-01-02");
  EXPECT_THAT(config.metrics, ElementsAre("accuracy"));
  EXPECT_EQ(refusal([&] { config.set_assignment("train.steps=many"); }),
            "--set: train.steps = many: must be an integer >= 1");
  EXPECT_THAT(refusal([&] { config.set_assignment("train.steps"); }), HasSubstr("must be KEY=VALUE"));
}

TEST(RunConfig, TheCommentedFileReadsAsWhatWasGiven) {
  RunConfig config = parsed(whole);
  EXPECT_EQ(parsed(commented_run_file(config)).to_toml(), config.to_toml());
  std::string uncommented;  // and every example in it is itself valid
  std::istringstream lines(commented_run_file(RunConfig{}));
  for (std::string line; std::getline(lines, line);)
    if (!line.starts_with("# A run") && !line.starts_with("# default."))
      uncommented += (line.starts_with("# ") ? line.substr(2) : line) + "\n";
  EXPECT_EQ(parsed(uncommented).train.steps, 1000);
}

}  // namespace
}  // namespace osculant
