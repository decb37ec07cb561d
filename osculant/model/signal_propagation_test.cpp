#include "osculant/model/signal_propagation.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/random.h"

namespace osculant {
namespace {

SignalPropagation tanh_stack(double weight_variance) {
  return signal_propagation(nonlinearity("tanh"), {weight_variance, 0.05});
}

// Published values of tanh at s_b^2 = 0.05 (Schoenholz et al. 2017, and by quadrature elsewhere).
TEST(SignalPropagation, HasTheKnownLengthsOfTanh) {
  auto ordered = tanh_stack(1.5), chaotic = tanh_stack(2.0), far = tanh_stack(3.0);
  EXPECT_NEAR(ordered.chi, 0.9386, 1e-4);
  EXPECT_NEAR(ordered.gradient_length, 15.79, 1e-2);
  EXPECT_EQ(ordered.phase, SignalPhase::ordered);
  EXPECT_EQ(ordered.correlation, 1);
  EXPECT_NEAR(chaotic.chi, 1.0477, 1e-4);
  EXPECT_NEAR(chaotic.gradient_length, 21.5, 5e-2);
  EXPECT_NEAR(chaotic.correlation_length, 25.2, 5e-2);
  EXPECT_EQ(chaotic.phase, SignalPhase::chaotic);
  EXPECT_NEAR(far.chi, 1.2089, 1e-4);
  EXPECT_NEAR(far.gradient_length, 5.27, 1e-2);
  EXPECT_NEAR(far.correlation_length, 9.05, 1e-2);
}

TEST(SignalPropagation, FindsTheCriticalWeightsOfTanh) {
  double critical = *critical_weight_variance(nonlinearity("tanh"), 0.05);
  EXPECT_NEAR(critical, 1.76096, 1e-4);
  auto found = tanh_stack(critical);
  EXPECT_NEAR(found.variance, 0.57005, 1e-4);
  EXPECT_EQ(found.phase, SignalPhase::critical);
}

// phi = erf has closed forms (Williams 1998): E erf(sqrt(q) z)^2 = 2/pi asin(2q / (1 + 2q)) and
// E erf'(sqrt(q) z)^2 = 4/pi / sqrt(1 + 4q).
TEST(SignalPropagation, AgreesWithTheClosedFormsOfErf) {
  StackInitialization init{1.4, 0.1};
  double q = 1;
  for (int i = 0; i < 500; ++i)
    q = init.weight_variance * 2 / M_PI * std::asin(2 * q / (1 + 2 * q)) + init.bias_variance;
  auto found = signal_propagation(nonlinearity("erf"), init);
  EXPECT_NEAR(found.variance, q, 1e-11);
  EXPECT_NEAR(found.chi, init.weight_variance * 4 / M_PI / std::sqrt(1 + 4 * q), 1e-11);
}

TEST(SignalPropagation, KnowsThatReluKeepsNoScaleOfItsOwn) {
  Nonlinearity relu = nonlinearity("relu");
  auto he = signal_propagation(relu, {2, 0});
  EXPECT_NEAR(he.chi, 1, 1e-12);
  EXPECT_NEAR(he.variance, 1, 1e-9) << "that of the inputs";
  EXPECT_EQ(signal_propagation(relu, {1, 0}).variance, 0);
  EXPECT_TRUE(std::isinf(signal_propagation(relu, {3, 0}).variance));
  EXPECT_NEAR(signal_propagation(relu, {1, 0.2}).variance, 0.4, 1e-9) << "s_b^2 / (1 - s_w^2 / 2)";
  EXPECT_FALSE(critical_weight_variance(relu, 0.05)) << "with biases the variance grows for ever";
}

TEST(SignalPropagation, PutsSigmoidOutOfReach) {
  auto critical = critical_weight_variance(nonlinearity("sigmoid"), 0.05);
  ASSERT_TRUE(critical);
  EXPECT_GT(*critical, 90);
  EXPECT_LT(signal_propagation(nonlinearity("sigmoid"), {1, 0}).chi, 0.07);
}

TEST(CriticalInitialization, IsCriticalForEveryActivationThatHasOne) {
  for (const char* name : {"tanh", "erf", "elu", "relu", "leaky_relu", "identity"}) {
    auto found = critical_initialization(name);
    ASSERT_TRUE(found) << name;
    EXPECT_NEAR(signal_propagation(nonlinearity(name), found->stack).chi, 1, 1e-4) << name;
    EXPECT_FALSE(found->in_tanh_coordinates) << name;
  }
  EXPECT_NEAR(critical_initialization("relu")->stack.weight_variance, 2, 1e-12) << "He et al. 2015";
  EXPECT_NEAR(critical_initialization("leaky_relu")->stack.weight_variance, 2 / 1.0001, 1e-9);
  auto sigmoid = critical_initialization("sigmoid");
  EXPECT_TRUE(sigmoid->in_tanh_coordinates);
  EXPECT_NEAR(sigmoid->stack.weight_variance, 1.76096, 1e-4);
}

// Roberts, Yaida & Hanin 2022, The Principles of Deep Learning Theory, section 5.3.4.
TEST(CriticalInitialization, IsHalfStableForGeluAndSilu) {
  auto gelu = critical_initialization("gelu"), silu = critical_initialization("silu");
  ASSERT_TRUE(gelu && silu);
  EXPECT_NEAR(gelu->stack.weight_variance, 1.98305826, 1e-7);
  EXPECT_NEAR(gelu->stack.bias_variance, 0.17292239, 1e-7);
  EXPECT_NEAR(silu->stack.weight_variance, 1.98800468, 1e-7);
  EXPECT_NEAR(silu->stack.bias_variance, 0.55514317, 1e-7);
  EXPECT_FALSE(critical_initialization("softplus")) << "its bias variance would be negative";
}

// Layers of width 1,000, the mean over directions of norm(J'v)^2 / norm(v)^2.
double simulated_chi(const Nonlinearity& phi, const StackInitialization& init, double q, uint64_t seed) {
  constexpr int64_t width = 1000, directions = 20, layers = 4;
  RandomStream random(seed, "layers");
  Tensor h = random.normal({width, 1}, at::kDouble) * std::sqrt(q);
  Tensor v = random.normal({width, directions}, at::kDouble);
  double start = v.square().sum().item<double>();
  for (int64_t layer = 0; layer < layers; ++layer) {
    Tensor W = random.normal({width, width}, at::kDouble) * std::sqrt(init.weight_variance / width);
    Tensor at = h.clone().requires_grad_();
    phi(at).sum().backward();
    v = W.mm(at.grad() * v);
    h = W.mm(phi(h)) + random.normal({width, 1}, at::kDouble) * std::sqrt(init.bias_variance);
  }
  return std::pow(v.square().sum().item<double>() / start, 1.0 / layers);
}

TEST(SignalPropagation, IsWhatWideLayersDo) {
  for (const char* name : {"tanh", "gelu", "sigmoid"}) {
    Nonlinearity phi = nonlinearity(name);
    StackInitialization init{1.7, 0.05};
    auto theory = signal_propagation(phi, init);
    ASSERT_TRUE(std::isfinite(theory.variance)) << name;
    double sum = 0;
    for (uint64_t seed = 0; seed < 4; ++seed) sum += simulated_chi(phi, init, theory.variance, seed);
    EXPECT_NEAR(sum / 4 / theory.chi, 1, 0.02) << name;
  }
}

TEST(GradientGain, IsThePowerOfChiInPlainStacksAndBoundedInOthers) {
  Nonlinearity tanh = nonlinearity("tanh");
  StackInitialization init{1, 0.05};
  auto theory = signal_propagation(tanh, init);
  EXPECT_NEAR(gradient_gain(tanh, init, Wiring::plain, 30, theory.variance), std::pow(theory.chi, 15), 1e-10);
  EXPECT_GT(gradient_gain(tanh, init, Wiring::residual, 30), 1);
  // Normalised relu layers: chi / next = (s_w^2 / 2) / (s_w^2 / 2).
  EXPECT_NEAR(gradient_gain(nonlinearity("relu"), {0.3, 0}, Wiring::normalized, 30), 1, 1e-9);
}

TEST(Nonlinearity, IsUnknownForOtherNames) {
  EXPECT_FALSE(nonlinearity("maxout"));
}

}  // namespace
}  // namespace osculant
