// Rows by layer of exported programs, which tests/oracle writes.
#include <gtest/gtest.h>

#include <filesystem>

#include "osculant/io/safetensors.h"
#include "osculant/model/exported_program.h"
#include "osculant/objective/layer_rows.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

class ExportedRows : public testing::TestWithParam<const char*> {};

TEST_P(ExportedRows, AreAutogradsToTheLastParameter) {
  const char* cases = std::getenv("OSCULANT_ORACLE_CASES");
  std::filesystem::path folder = std::filesystem::path(cases ? cases : "") / GetParam();
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << "OSCULANT_PYTHON has no torch, so there are no programs";
  auto data = load_safetensors(folder / "data.safetensors");
  Model model = load_exported(folder / "model.pt2", {.dtype = at::kDouble});
  model.train(false);
  Tensor x = data.tensors[0].tensor;
  Batch batch{{{"", x}}, {{"", x}}, {}};
  Objective objective(model, MeanSquaredError(), Dataset(x, x).full());
  LayerFactors factors(objective, 0, batch);
  EXPECT_TRUE(factors.untapped().empty())
      << factors.untapped()[0].name << ": " << factors.untapped()[0].reason;
  auto u = random_columns(factors, 2, 3);
  LayerRows rows(factors, u, int64_t{1} << 30);
  Tensor J = autograd_rows(factors, u);
  auto norm = [](const Tensor& t) { return t.norm().item<double>(); };
  EXPECT_LT(norm(rows.dense() - J), 1e-12 * norm(J));
  Tensor K = at::einsum("cnp,kmp->cnkm", {J, J});
  EXPECT_LT(norm(rows.products_with(rows) - K), 1e-12 * norm(K));
}

INSTANTIATE_TEST_SUITE_P(Programs, ExportedRows,
                         testing::Values("mlp_mse", "transformer", "tied", "cnn_eval", "residual"));

}  // namespace
}  // namespace osculant
