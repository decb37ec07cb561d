#include "osculant/spectrum/counts.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::rotated_diagonal;

int64_t number(const Tensor& mask) {
  return mask.sum().item<int64_t>();
}

TEST(Counts, OfAnOperatorThatIsFormedAreExact) {
  for (auto& spectrum : testing::spectra(60)) {
    auto sample = sample_spectrum(*rotated_diagonal(spectrum.eigenvalues, 1));
    ASSERT_TRUE(sample.exact);
    for (double t : {0.003, 0.31, 4.9}) {
      auto below = count_below(sample, t), beyond = count_beyond(sample, t);
      EXPECT_TRUE(below.exact());
      EXPECT_EQ(below.low, number(spectrum.eigenvalues <= t)) << spectrum.name << " " << t;
      EXPECT_EQ(beyond.high, number(spectrum.eigenvalues.abs() > t)) << spectrum.name << " " << t;
    }
  }
}

// Where the quadrature resolves the threshold the interval covers as often as it says.
TEST(Counts, CoverAsOftenAsTheySay) {
  Tensor l = cat({at::linspace(-1.2, -1, 30, at::kDouble), at::linspace(-0.1, 0.1, 50, at::kDouble),
                  at::linspace(0.8, 1.2, 40, at::kDouble)});
  auto A = diagonal_operator(l);
  int below = 0, beyond = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto sample = sample_spectrum(*A, {.steps = 20, .probes = 4, .dense_limit = 0, .seed = seed});
    auto count = count_below(sample, 0.5);
    below += count.low <= 80 && 80 <= count.high;
    count = count_beyond(sample, 0.5);
    beyond += count.low <= 70 && 70 <= count.high;
    EXPECT_LT(count.high - count.low, 35);
  }
  for (int covered : {below, beyond}) {
    EXPECT_GE(covered, 180);
    EXPECT_LE(covered, 198);
  }
}

TEST(Counts, HoldWhereTheQuadratureResolvesLittle) {
  Tensor l = at::arange(1, 121, at::kDouble).pow(-1);
  auto A = diagonal_operator(l);
  int covered = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto sample = sample_spectrum(*A, {.steps = 6, .probes = 3, .dense_limit = 0, .seed = seed});
    double t = 1.0 / (3.5 + static_cast<double>(seed % 60));
    auto count = count_beyond(sample, t);
    int64_t truth = number(l > t);
    covered += count.low <= truth && truth <= count.high;
  }
  EXPECT_GE(covered, 180);
}

TEST(Counts, OfALowRankOperatorNeedFewSteps) {
  for (auto dtype : {at::kDouble, at::kFloat}) {
    Tensor l = cat({at::tensor({5., -3., 1., 0.2}, at::kDouble), at::zeros({396}, at::kDouble)});
    auto A = rotated_diagonal(l, 2, dtype);
    auto sample = sample_spectrum(*A, {.steps = 30, .probes = 10, .dense_limit = 0});
    EXPECT_LE(sample.products, 100);
    auto count = count_beyond(sample, 1e-3);
    EXPECT_LE(count.low, 4);
    EXPECT_GE(count.high, 4);
    EXPECT_LE(count.high, 12);
    EXPECT_GE(count.low, 1);
  }
}

TEST(Counts, PairsThatAreKnownAreCountedExactly) {
  for (auto& spectrum : testing::spectra(300)) {
    SCOPED_TRACE(spectrum.name);
    auto A = rotated_diagonal(spectrum.eigenvalues, 3);
    auto pairs = eigenpairs(*A, {.count = 12, .target = EigenTarget::dominant, .tolerance = 1e-7});
    auto sample = sample_spectrum(*A, {.steps = 30, .probes = 3, .dense_limit = 0}, &pairs);
    EXPECT_EQ(sample.rest(), 288);
    EXPECT_EQ(sample.products, 90);
    double t = 0.5 * std::abs(pairs.values[9].item<double>());
    auto count = count_beyond(sample, t);
    int64_t truth = number(spectrum.eigenvalues.abs() > t);
    EXPECT_GE(count.low, 10);
    EXPECT_LE(count.low, truth);
    EXPECT_GE(count.high, truth);
  }
}

TEST(Counts, OfSingularCases) {
  auto one = sample_spectrum(*diagonal_operator(at::full({1}, 3., at::kDouble)), {.dense_limit = 0});
  EXPECT_EQ(count_below(one, 2).high, 0);
  EXPECT_EQ(count_below(one, 4).low, 1);
  for (int64_t limit : {0, 500}) {
    auto zero = sample_spectrum(*diagonal_operator(at::zeros({40}, at::kDouble)), {.dense_limit = limit});
    EXPECT_EQ(count_beyond(zero, 1e-9).high, 0);
    EXPECT_EQ(count_below(zero, 0).low, 40);
    auto multiple =
        sample_spectrum(*diagonal_operator(at::full({40}, 2., at::kDouble)), {.dense_limit = limit});
    EXPECT_EQ(count_beyond(multiple, 1).low, 40);
    EXPECT_EQ(count_below(multiple, 1).high, 0);
  }
  auto A = diagonal_operator(at::linspace(1, 2, 8, at::kDouble));
  auto all = eigenpairs(*A, {.count = 10});
  auto known = sample_spectrum(*A, {.dense_limit = 0}, &all);
  EXPECT_EQ(known.products, 0);
  EXPECT_EQ(count_below(known, 1.5).low, 4);
  EXPECT_EQ(count_below(known, 1.5).high, 4);
}

TEST(SpectralSample, SaysWhatItDoesNotKnow) {
  auto A = diagonal_operator(at::linspace(1, 2, 100, at::kDouble));
  auto stopped = sample_spectrum(
      *A, {.steps = 10, .dense_limit = 0, .progress = [](int64_t products) { return products < 25; }});
  EXPECT_EQ(stopped.stop, SampleStop::interrupted);
  EXPECT_EQ(stopped.probes.size(), 2u);
  EXPECT_TRUE(stopped.usable());
  auto nothing = sample_spectrum(*A, {.dense_limit = 0, .progress = [](int64_t) { return false; }});
  EXPECT_FALSE(nothing.usable());
  EXPECT_EQ(count_below(nothing, 1.5).low, 0);
  EXPECT_EQ(count_below(nothing, 1.5).high, 100);
  for (int64_t limit : {0, 500}) {
    auto nan = sample_spectrum(*diagonal_operator(at::full({90}, NAN, at::kDouble)), {.dense_limit = limit});
    EXPECT_EQ(nan.stop, SampleStop::non_finite);
    EXPECT_FALSE(nan.usable());
  }
  EXPECT_THAT(message_of([&] { sample_spectrum(*A, {.probes = 1}); }, ErrorKind::usage),
              ::testing::HasSubstr("probes = 1: must be >= 2"));
  EXPECT_THROW(sample_spectrum(*dense_operator(at::ones({3, 3}, at::kDouble))), Error);
}

}  // namespace
}  // namespace osculant
