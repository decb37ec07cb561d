#include "osculant/curvature/regularizers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/io/archive.h"
#include "osculant/objective/linearization.h"
#include "osculant/objective/plan.h"
#include "osculant/objective/weight_decay.h"

namespace osculant {
namespace {

namespace r = regularizers;
using r::RegularizerPtr;

// 2-3-2, tanh, cross entropy or mse, ten examples in batches of four: 17 parameters.
Objective small(bool classes = false, int64_t batch_size = 4) {
  torch::manual_seed(3);
  torch::nn::Sequential net(torch::nn::Linear(2, 3), torch::nn::Tanh(), torch::nn::Linear(3, 2));
  net->to(torch::kFloat64);
  auto x = at::randn({10, 2}, at::kDouble);
  Tensor y = classes ? at::randint(2, {10}, at::kLong) : at::randn({10, 2}, at::kDouble);
  return Objective(Model(net), classes ? CrossEntropy() : MeanSquaredError(),
                   Dataset(x, y).batches(batch_size));
}

struct Case {
  std::string name;
  std::function<RegularizerPtr(const std::string& parameters)> make;
};

std::vector<Case> cases() {
  std::vector<Case> all{
      {"gradient_norm", [](auto p) { return r::gradient_norm({.strength = 0.3, .parameters = p}); }},
      {"squared_gradient_norm",
       [](auto p) { return r::squared_gradient_norm({.strength = 0.3, .parameters = p}); }},
      {"gradient_low_rank", [](auto p) { return r::gradient_low_rank({.strength = 0.3, .parameters = p}); }},
  };
  for (auto matrix : {PenaltyMatrix::hessian, PenaltyMatrix::gauss_newton}) {
    std::string of = matrix == PenaltyMatrix::hessian ? "_hessian" : "_gauss_newton";
    ProbePenaltyOptions probes{.strength = 0.3, .matrix = matrix, .probes = 2};
    SpectralPenaltyOptions spectral{.strength = 0.3, .matrix = matrix};
    TailEnergyOptions tail{.strength = 0.3, .matrix = matrix, .rank = 2, .probes = 2};
    ColumnSparsityOptions columns{.strength = 0.3, .matrix = matrix, .columns = 3, .width = 0.05};
    auto with = [](auto options, auto make) {
      return [=](const std::string& p) {
        auto own = options;
        own.parameters = p;
        return make(own);
      };
    };
    all.push_back({"trace" + of, with(probes, r::trace)});
    all.push_back({"frobenius" + of, with(probes, r::frobenius)});
    all.push_back({"spectral" + of, with(spectral, r::spectral)});
    all.push_back({"tail_energy" + of, with(tail, r::tail_energy)});
    all.push_back({"column_sparsity" + of, with(columns, r::column_sparsity)});
  }
  return all;
}

class EveryRegularizer : public ::testing::TestWithParam<Case> {
 protected:
  // With what it carries turned towards theta, as in the second step of a run.
  Objective penalised(const Objective& plain, const std::string& parameters = "*") const {
    return plain.plus(GetParam().make(parameters)).advanced().advanced();
  }
  bool of_gauss_newton() const { return GetParam().name.ends_with("_gauss_newton"); }
};

INSTANTIATE_TEST_SUITE_P(All, EveryRegularizer, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

double smooth_l1(const Tensor& x, double beta) {
  Tensor a = x.abs();
  return at::where(a < beta, x * x / (2 * beta), a - beta / 2).mean().item<double>();
}

// R by its definition, from dense matrices of the parameters in `indices`.
double oracle(const std::string& name, const Tensor& g, const Tensor& B, const Tensor& P,
              const ParameterLayout& layout, const std::string& parameters) {
  if (name == "gradient_norm") return g.norm().item<double>();
  if (name == "squared_gradient_norm") return g.square().sum().item<double>() / 2;
  if (name == "gradient_low_rank") {
    double energy = 0;  // of the weights [3, 2] and [2, 3], the first alone for "0.*"
    Tensor first = g.narrow(0, 0, 6).view({3, 2});
    energy += at::linalg_svdvals(first)[1].square().item<double>();
    if (parameters == "*")
      energy += at::linalg_svdvals(g.narrow(0, 9, 6).view({2, 3}))[1].square().item<double>();
    return energy;
  }
  Tensor BP = B.mm(P.t());
  auto m = static_cast<double>(P.size(0));
  if (name.starts_with("trace")) return (P.t() * BP).sum().item<double>() / m;
  if (name.starts_with("spectral")) return std::abs((P.t() * BP).sum().item<double>());
  if (name.starts_with("column_sparsity")) return smooth_l1(BP, 0.05);
  return BP.square().sum().item<double>() / m;
}

TEST_P(EveryRegularizer, has_the_value_of_its_definition) {
  for (bool classes : {false, true})
    for (std::string parameters : {"*", "0.*"}) {
      Objective plain = small(classes), with = penalised(plain, parameters);
      Tensor B = of_gauss_newton() ? dense(GaussNewton(plain)).matrix : dense(Hessian(plain)).matrix;
      Tensor indices = plain.layout().indices({parameters});
      Tensor g = plain.value_and_gradient().second.index_select(0, indices);
      Tensor P = with.regularizers()[0]->of_data()->directions(plain.layout());
      if (P.defined()) P = P.index_select(1, indices);
      double expected = oracle(GetParam().name, g, B.index_select(0, indices).index_select(1, indices), P,
                               plain.layout(), parameters);
      EXPECT_NEAR(with.value() - plain.value(), 0.3 * expected, 1e-12) << parameters;
      EXPECT_GT(expected, 1e-6);
    }
}

TEST_P(EveryRegularizer, has_the_gradient_of_its_value) {
  for (bool classes : {false, true})
    for (std::string parameters : {"*", "0.*"}) {
      Objective f = penalised(small(classes), parameters);
      Tensor g = f.value_and_gradient().second, theta = f.layout().theta().clone();
      Tensor differences = at::zeros_like(g);
      double h = 1e-5;
      for (int64_t i = 0; i < g.numel(); ++i) {
        Tensor e = at::zeros_like(g);
        e[i] = h;
        f.layout().assign(theta + e);
        double above = f.value();
        f.layout().assign(theta - e);
        differences[i] = (above - f.value()) / (2 * h);
      }
      EXPECT_LT((g - differences).norm().item<double>(), 2e-8 * (1 + g.norm().item<double>())) << parameters;
    }
}

TEST_P(EveryRegularizer, has_the_hessian_of_its_gradient) {
  for (bool classes : {false, true}) {
    Objective f = penalised(small(classes));
    Tensor theta = f.layout().theta().clone();
    Tensor V = at::randn({f.parameters(), 2}, at::kDouble);
    Tensor HV = f.linearize({.hessian = true})->hessian_product(V);
    double h = 1e-5;
    for (int64_t j = 0; j < 2; ++j) {
      f.layout().assign(theta + h * V.select(1, j));
      Tensor above = f.value_and_gradient().second;
      f.layout().assign(theta - h * V.select(1, j));
      Tensor difference = (above - f.value_and_gradient().second) / (2 * h);
      EXPECT_LT((HV.select(1, j) - difference).norm().item<double>(), 1e-7 * (1 + HV.norm().item<double>()));
    }
  }
}

// One batch or three, graphs kept or rebuilt: the same numbers.
TEST_P(EveryRegularizer, does_not_depend_on_batches_or_memory) {
  Objective whole = penalised(small(false, 10)),
            parts = small(false, 4).with_regularizers(whole.regularizers());
  Tensor v = at::randn({whole.parameters()}, at::kDouble);
  auto once = whole.linearize({.gradient = true, .hessian = true});
  Tensor Hv = once->hessian_product(v);
  for (int64_t budget : {int64_t{1} << 30, int64_t{0}}) {
    parts.set_memory_budget(budget);
    auto again = parts.linearize({.gradient = true, .hessian = true});
    EXPECT_NEAR(again->value(), once->value(), 1e-13);
    EXPECT_TRUE(at::allclose(again->gradient(), once->gradient(), 1e-11, 1e-13));
    EXPECT_TRUE(at::allclose(again->hessian_product(v), Hv, 1e-10, 1e-12));
    EXPECT_EQ(again->graphs().kept, budget > 0 ? 3 : 0);
    EXPECT_EQ(again->graphs().bytes > 0, budget > 0);
    EXPECT_TRUE(at::allclose(parts.value_and_gradient().second, once->gradient(), 1e-11, 1e-13));
  }
}

TEST_P(EveryRegularizer, goes_on_from_what_was_saved) {
  Objective f = penalised(small());
  std::string path =
      (std::filesystem::path(::testing::TempDir()) / (GetParam().name + ".safetensors")).string();
  Archive archive("test", 1);
  f.regularizers()[0]->save(archive);
  archive.save(path);
  auto loaded = GetParam().make("*")->loaded(Archive::load(path, "test", 1), f.layout());
  if (!loaded) loaded = GetParam().make("*");
  auto again = f.with_regularizers({loaded});
  EXPECT_EQ(again.value(), f.value());
  EXPECT_EQ(again.advanced().value(), f.advanced().value());
}

// Of a function of the parameters, beside a regulariser of the parameters alone.
TEST_P(EveryRegularizer, takes_functions_of_the_parameters) {
  Tensor x = at::arange(1, 7, at::kDouble).view({3, 2}).div_(7).requires_grad_();
  auto f = Objective::function({{"0.x", x}}, [x] { return (x.sin() * x.square()).sum() + x.prod(); });
  if (of_gauss_newton()) {
    EXPECT_THAT(message_of([&] { f.plus(GetParam().make("*")).value(); }, ErrorKind::usage),
                ::testing::HasSubstr("no Gauss-Newton matrix; take matrix = hessian"));
    return;
  }
  auto with = penalised(f), both = with.plus(weight_decay(2));
  Tensor g = both.value_and_gradient().second, theta = f.layout().theta().clone();
  EXPECT_NEAR(both.value() - with.value(), theta.square().sum().item<double>(), 1e-13);
  EXPECT_GT(with.value(), f.value() + 1e-6);
  Tensor step = at::randn({6}, at::kDouble) * 1e-5;
  f.layout().assign(theta + step);
  double above = both.value();
  f.layout().assign(theta - step);
  EXPECT_NEAR(above - both.value(), 2 * g.dot(step).item<double>(), 1e-9 * g.norm().item<double>() * 1e-3);
}

struct Draws {
  double mean, error;
};
Draws draw(RegularizerPtr regularizer, const Objective& f, const Tensor& B, int64_t count) {
  Tensor values = at::zeros({count}, at::kDouble);
  for (int64_t i = 0; i < count; ++i) {
    const auto* data = regularizer->of_data();
    values[i] = data->outer(f.layout(), data->directions(f.layout()).mm(B));
    regularizer = regularizer->advanced(f);
  }
  return {values.mean().item<double>(), values.std().item<double>() / std::sqrt(static_cast<double>(count))};
}

TEST(Regularizers, random_ones_have_no_bias) {
  Objective f = small();
  Tensor B = dense(Hessian(f)).matrix;
  auto expect = [&](const RegularizerPtr& regularizer, double exact) {
    auto [mean, error] = draw(regularizer, f, B, 3000);
    EXPECT_NEAR(mean, exact, 4 * error) << regularizer->name();
    EXPECT_LT(error, 0.05 * std::abs(exact)) << regularizer->name();
  };
  expect(r::trace({.strength = 1}), B.trace().item<double>());
  expect(r::frobenius({.strength = 1}), B.square().sum().item<double>());
  expect(r::column_sparsity({.strength = 1, .width = 0.05}), smooth_l1(B, 0.05));
}

// V is refreshed at every draw here, so it is fixed first.
TEST(Regularizers, tail_energy_has_no_bias_and_is_the_distance_from_rank_k_at_the_eigenvectors) {
  Objective f = small();
  Tensor B = dense(Hessian(f)).matrix;
  RegularizerPtr tail = r::tail_energy({.strength = 1, .rank = 3, .refresh = 1 << 20});
  auto turned = r::tail_energy({.strength = 1, .rank = 3});
  for (int i = 0; i < 60; ++i) turned = turned->advanced(f);
  Archive archive("test", 1);
  turned->save(archive);
  auto [mean, error] = draw(tail->loaded(archive, f.layout()), f, B, 3000);
  Tensor squares = std::get<0>(at::linalg_eigvalsh(B).square().sort(0, /*descending=*/true));
  double exact = squares.slice(0, 3).sum().item<double>();
  EXPECT_NEAR(mean, exact, 4 * error);
  EXPECT_LT(error, 0.05 * exact);
}

TEST(Regularizers, spectral_finds_the_eigenvalue_of_largest_magnitude) {
  for (std::string parameters : {"*", "2.*"}) {
    Objective f = small();
    auto indices = f.layout().indices({parameters});
    Tensor block = dense(Hessian(f)).matrix.index_select(0, indices).index_select(1, indices);
    auto spectral = r::spectral({.strength = 1, .parameters = parameters, .iterations = 5});
    for (int i = 0; i < 30; ++i) spectral = spectral->advanced(f);
    EXPECT_NEAR(f.plus(spectral).value() - f.value(), at::linalg_eigvalsh(block).abs().max().item<double>(),
                1e-6);
  }
}

TEST(Regularizers, gradient_norm_is_guarded_where_the_gradient_is_zero) {
  Tensor x = at::zeros({3}, at::kDouble).requires_grad_();
  auto f = Objective::function({{"x", x}}, [x] { return x.square().sum() / 2; }).plus(r::gradient_norm());
  auto at = f.linearize({.gradient = true, .hessian = true});
  EXPECT_EQ(at->value(), 0);
  EXPECT_TRUE(at->gradient().equal(at::zeros({3}, at::kDouble)));
  EXPECT_TRUE(at->hessian_product(at::ones({3}, at::kDouble)).equal(at::ones({3}, at::kDouble)));
}

// From the graph that the gradient is taken from as well: a graph and a Hessian product, no second pass
// forward.
TEST(Regularizers, are_charged_for) {
  Objective f = small();
  auto cost = [&](const RegularizerPtr& regularizer, auto work) {
    Objective with = f.plus(regularizer);
    double before = f.ledger().gradient_equivalents();
    work(with);
    return f.ledger().gradient_equivalents() - before;
  };
  auto gradient = [](const Objective& o) { o.value_and_gradient(); };
  auto value = [](const Objective& o) { o.value(); };
  EXPECT_NEAR(cost(r::gradient_norm(), value), Price::gradient, 1e-12);
  EXPECT_NEAR(cost(r::gradient_norm(), gradient), Price::gradient_graph + Price::hessian_product, 1e-12);
  EXPECT_NEAR(cost(r::trace({.probes = 3}), gradient),
              Price::gradient_graph + 3 * (Price::hessian_product + Price::hessian_derivative), 1e-12);
  EXPECT_NEAR(
      cost(r::trace({.matrix = PenaltyMatrix::gauss_newton}), gradient),
      Price::gradient + Price::output_graph + Price::gauss_newton_product + Price::gauss_newton_derivative,
      1e-12);
  int64_t products = f.ledger().products();
  gradient(f.plus(r::trace({.probes = 3})));
  EXPECT_EQ(f.ledger().products() - products, 3);
}

TEST(Regularizers, are_in_the_plan) {
  Objective f = small().plus(r::squared_gradient_norm());
  f.set_memory_budget(int64_t{1} << 30);
  auto predicted = plan(f, {.needs = {.hessian = true}, .hessian_products = 7});
  f.linearize({.hessian = true})->hessian_product(at::zeros({f.parameters(), 7}, at::kDouble));
  EXPECT_NEAR(predicted.gradient_equivalents, f.ledger().gradient_equivalents(), 1e-9);
}

// pdist's derivative has none of its own.
TEST(Regularizers, say_where_libtorch_cannot_differentiate) {
  Tensor x = at::randn({3, 2}, at::kDouble).requires_grad_();
  auto f = Objective::function({{"x", x}}, [x] { return at::pdist(x).sum() + x.pow(4).sum(); });
  EXPECT_THAT(
      message_of([&] { f.plus(r::gradient_norm()).value_and_gradient(); }, ErrorKind::usage),
      ::testing::AllOf(::testing::HasSubstr("regulariser gradient_norm: its gradient needs derivatives "
                                            "of the network that libtorch does not have"),
                       ::testing::HasSubstr("_pdist_backward")));
}

TEST(Regularizers, refuse_options_that_cannot_be_meant) {
  Objective f = small();
  auto refusal = [&](auto make) { return message_of(make, ErrorKind::usage); };
  EXPECT_EQ(refusal([&] { r::trace({.probes = 0}); }), "probes = 0: must be >= 1");
  EXPECT_EQ(refusal([&] { r::gradient_norm({.strength = -1}); }), "strength = -1: must be >= 0");
  EXPECT_EQ(refusal([&] { r::column_sparsity({.width = 0}); }), "width = 0: must be > 0");
  EXPECT_EQ(refusal([&] { f.plus(r::trace({.parameters = "1.*"})).value(); }),
            "parameter group \"1.*\": matches no parameter");
  EXPECT_EQ(refusal([&] { f.plus(r::gradient_low_rank({.parameters = "*.bias"})).value(); }),
            "regulariser gradient_low_rank: parameters = \"*.bias\": matches no matrix");
}

TEST(Regularizers, name_the_one_that_is_not_finite) {
  Tensor x = at::full({2}, 1e-100, at::kDouble).requires_grad_();  // g = -1e200
  auto f = Objective::function({{"x", x}}, [x] { return x.pow(-1).sum(); });
  auto blamed = [](const Objective& o) { return o.linearize({.gradient = true})->not_finite(); };
  EXPECT_EQ(blamed(f.plus(weight_decay(1)).plus(r::squared_gradient_norm())), "squared_gradient_norm");
  EXPECT_EQ(blamed(f.plus(weight_decay(1))), "");
  f.layout().assign(at::full({2}, 1e-200, at::kDouble));  // the data terms' own gradient is not
  EXPECT_EQ(blamed(f.plus(r::squared_gradient_norm())), "");
}

}  // namespace
}  // namespace osculant
