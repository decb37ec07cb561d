// K-FAC and EKFAC against curvlinops in float64: factors of each layer and the matrices they make
// (tests/oracle/kfac_cases.py; docs/kfac.md says how conventions compare).
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <filesystem>

#include "osculant/curvature/kfac.h"
#include "osculant/data/dataset.h"
#include "osculant/io/safetensors.h"
#include "osculant/model/output_loss.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;

// A layer that three positions of an example share.
struct PositionsImpl : torch::nn::Module {
  PositionsImpl()
      : shared(register_module("shared", torch::nn::Linear(4, 5))),
        head(register_module("head", torch::nn::Linear(5, 3))) {}
  Tensor forward(const Tensor& x) { return head(at::tanh(shared(x)).mean(1)); }
  torch::nn::Linear shared, head;
};
TORCH_MODULE(Positions);

Model network(const std::string& name) {
  using namespace torch::nn;
  if (name == "positions") {
    Positions net;
    net->to(at::kDouble);
    return net;
  }
  Sequential net = name == "mlp"
                       ? Sequential(Linear(4, 5), Tanh(), Linear(5, 3))
                       : Sequential(Conv2d(Conv2dOptions(2, 3, 3).stride(2).padding(1)), Tanh(),
                                    Conv2d(Conv2dOptions(3, 2, 2)), Tanh(), Flatten(), Linear(8, 3));
  net->to(at::kDouble);
  return net;
}

class KfacOracle : public testing::TestWithParam<std::string> {  // NETWORK_LOSS
 protected:
  fs::path file() const {
    const char* folder = std::getenv("OSCULANT_ORACLE_CASES");
    return fs::path(folder ? folder : "") / "kfac" / (GetParam() + ".safetensors");
  }

  void SetUp() override {
    if (!fs::exists(file())) GTEST_SKIP() << file() << " is not there";
    python = load_safetensors(file());
    auto split = GetParam().find('_');
    Model model = network(GetParam().substr(0, split));
    model.layout().assign(python.tensor("theta"));
    auto loss =
        GetParam().substr(split + 1) == "mse" ? OutputLoss(MeanSquaredError()) : OutputLoss(CrossEntropy());
    objective.emplace(model, loss, Dataset(python.tensor("x"), python.tensor("y")).batches(16));
  }

  void expect_same(const Tensor& ours, const std::string& name) const {
    Tensor theirs = python.tensor(name);
    ASSERT_EQ(ours.sizes(), theirs.sizes()) << name;
    EXPECT_LT(((ours - theirs).norm() / theirs.norm()).item<double>(), 1e-10) << name;
  }

  Safetensors python;
  std::optional<Objective> objective;
};

TEST_P(KfacOracle, FactorsAndMatricesAreCurvlinops) {
  for (auto [kind, gradients] :
       {std::pair{"exact", ScoreGradients::exact}, std::pair{"empirical", ScoreGradients::empirical}})
    for (auto [way, sharing] :
         {std::pair{"expand", WeightSharing::expand}, std::pair{"reduce", WeightSharing::reduce}}) {
      std::string prefix = std::string(kind) + "." + way + ".";
      KfacOptions options{.sample = {.gradients = gradients}, .sharing = sharing};
      auto F = kfac(*objective, options);
      ASSERT_EQ(F.untapped.size(), 0);
      for (const auto& block : F.matrix->blocks()) {
        expect_same(block.inputs.blocks()[0][0], prefix + block.name + ".inputs");
        expect_same(block.outputs.blocks()[0][0], prefix + block.name + ".outputs");
      }
      expect_same(to_dense(*F.matrix), prefix + "kfac");
      auto E = ekfac(*objective, options);
      ASSERT_TRUE(E.matrix);
      expect_same(to_dense(*E.matrix), prefix + "ekfac");
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, KfacOracle,
                         testing::Values("mlp_mse", "mlp_cross_entropy", "positions_mse",
                                         "positions_cross_entropy", "cnn_mse", "cnn_cross_entropy"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace osculant
