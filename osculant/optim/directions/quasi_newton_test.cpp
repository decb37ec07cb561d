#include "osculant/optim/directions/quasi_newton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/lbfgs.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;
using testing::normal;
using testing::propose;
using testing::relative_difference;

using Directions = std::vector<std::pair<std::string, std::function<std::unique_ptr<Direction>(int64_t n)>>>;
const QuasiNewtonOptions from_identity{.initial_scale = 1};

Directions broyden_class() {
  return {{"bfgs", [](int64_t n) { return bfgs_direction(from_identity, n); }},
          {"dfp", [](int64_t n) { return dfp_direction({.common = from_identity}, n); }},
          {"broyden", [](int64_t n) { return broyden_direction({.phi = 0.3, .common = from_identity}, n); }}};
}

// H as the direction would write it to a checkpoint.
Tensor inverse_of(const Direction& direction) {
  Archive archive("test", 1);
  direction.save(archive);
  return archive.tensor("inverse");
}

void tell(Direction& direction, const Tensor& s, const Tensor& new_gradient) {
  StepOutcome outcome;
  outcome.accepted = true;
  outcome.displacement = s;
  outcome.new_gradient = new_gradient;
  direction.accepted(outcome);
}

// A quadratic, and steps on it that end where the gradient is at right angles to them, or anywhere one likes.
struct Walk {
  explicit Walk(const Tensor& values) : q(testing::quadratic(values)) {}

  Tensor gradient() const { return q.A.matmul(q.objective.layout().theta()) - q.b; }

  void move(Direction& direction, const Tensor& s) {
    q.objective.layout().add(s);
    tell(direction, s, gradient());
  }

  Step exact_step(Direction& direction) {
    auto step = propose(direction, q.objective);
    const Tensor& p = step.displacement;
    move(direction, -(gradient().dot(p) / p.dot(q.A.matmul(p))) * p);
    return step;
  }

  int64_t steps_to_minimum(Direction& direction, int64_t most) {
    double start = gradient().norm().item<double>();
    for (int64_t k = 0; k < most; ++k) {
      if (gradient().norm().item<double>() <= 1e-9 * start) return k;
      exact_step(direction);
    }
    return most;
  }

  testing::Quadratic q;
};

TEST(QuasiNewton, ends_in_as_many_exact_steps_as_there_are_active_eigenvalues) {
  auto all = broyden_class();
  all.push_back({"ssbroyden", [](int64_t n) { return ssbroyden_direction(from_identity, n); }});
  all.push_back({"sr1", [](int64_t n) { return sr1_direction({.common = from_identity}, n); }});
  for (const auto& [name, make] : all) {
    Walk repeated(torch::tensor({2.0, 2.0, 2.0, 5.0, 5.0, 9.0}, f64()));
    EXPECT_EQ(repeated.steps_to_minimum(*make(6), 10), 3) << name;
    // g_0 = -b in the span of four eigenvectors of eight.
    Walk few(torch::linspace(0.5, 8, 8, f64()));
    Tensor vectors = std::get<1>(at::linalg_eigh(few.q.A)).narrow(1, 2, 4);
    few.q.b.copy_(vectors.matmul(normal({4}, 3)));
    EXPECT_EQ(few.steps_to_minimum(*make(8), 10), 4) << name;
  }
}

TEST(QuasiNewton, has_learned_the_inverse_after_n_exact_steps) {
  for (const auto& [name, make] : broyden_class()) {
    Walk walk(torch::linspace(1, 6, 6, f64()));
    auto direction = make(6);
    for (int k = 0; k < 6; ++k) walk.exact_step(*direction);
    EXPECT_LT(relative_difference(inverse_of(*direction), walk.q.A.inverse()), 1e-7) << name;
  }
}

TEST(QuasiNewton, rank_one_learns_an_indefinite_inverse_from_any_independent_steps) {
  Walk walk(torch::tensor({-3.0, -1.0, 0.5, 1.0, 2.0, 7.0}, f64()));
  auto direction = sr1_direction({.common = from_identity}, 6);
  for (uint64_t k = 0; k < 6; ++k) {
    EXPECT_THAT(propose(*direction, walk.q.objective).note, ::testing::Not(HasSubstr("left out")));
    walk.move(*direction, normal({6}, 40 + k));
  }
  EXPECT_LT(relative_difference(inverse_of(*direction), walk.q.A.inverse()), 1e-9);
}

// With M symmetric positive definite: B+ = (1 - phi) BFGS + phi DFP of B (Nocedal & Wright 2006, 6.19
// and 6.13 to 6.15), s = -alpha B^-1 g.
TEST(QuasiNewton, broydens_class_lies_between_bfgs_and_dfp) {
  for (double phi : {0.0, 0.25, 1.0}) {
    Walk walk(torch::linspace(1, 6, 6, f64()));
    auto direction = broyden_direction({.phi = phi, .common = from_identity}, 6);
    Tensor B = torch::eye(6, f64()), I = B;
    for (int k = 0; k < 4; ++k) {
      Tensor s = 0.7 * propose(*direction, walk.q.objective).displacement, y = walk.q.A.matmul(s);
      walk.move(*direction, s);
      Tensor Bs = B.matmul(s), left = I - y.outer(s) / y.dot(s);
      Tensor bfgs = B - Bs.outer(Bs) / s.dot(Bs) + y.outer(y) / y.dot(s);
      Tensor dfp = left.matmul(B).matmul(left.t()) + y.outer(y) / y.dot(s);
      B = (1 - phi) * bfgs + phi * dfp;
      EXPECT_LT(relative_difference(inverse_of(*direction), B.inverse()), 1e-12) << phi << ", step " << k;
    }
  }
}

// B+ = tau (B - B s s'B / s'Bs + theta w w') + y y'/s'y, w = sqrt(s'Bs) (y / s'y - B s / s'Bs) (Al-Baali
// 1998, 1.3).
TEST(QuasiNewton, self_scaled_update_is_the_published_one) {
  int64_t n = 6, scaled = 0;
  for (double share : {0.2, 0.7, 1.5}) {
    Walk walk(torch::logspace(-1, 1, n, 10, f64()));
    auto direction = ssbroyden_direction(from_identity, n);
    Tensor B = torch::eye(n, f64());
    for (int k = 0; k < 5; ++k) {
      Tensor s = share * propose(*direction, walk.q.objective).displacement, y = walk.q.A.matmul(s);
      walk.move(*direction, s);
      Tensor Bs = B.matmul(s), Hy = B.inverse().matmul(y);
      double sy = s.dot(y).item<double>(), sBs = s.dot(Bs).item<double>(), yHy = y.dot(Hy).item<double>();
      double b = sBs / sy, h = yHy / sy, a = b * h - 1, c = std::sqrt(a / (1 + a));
      double smallest = std::min(1.0, h * (1 - c));
      double theta = std::max((smallest - 1) / a, std::min(1 / smallest, (1 - b) / b));
      double sigma = 1 + a * theta, largest = std::min(1.0, 1 / b), root = std::pow(sigma, 1.0 / (1.0 - n));
      double tau = theta > 0 ? largest * std::min(root, 1 / theta) : std::min(largest * root, sigma);
      Tensor w = std::sqrt(sBs) * (y / sy - Bs / sBs);
      B = tau * (B - Bs.outer(Bs) / sBs + theta * w.outer(w)) + y.outer(y) / sy;
      EXPECT_LT(relative_difference(inverse_of(*direction), B.inverse()), 1e-10) << share << ", step " << k;
      EXPECT_GT(std::get<0>(at::linalg_eigh(B)).min().item<double>(), 0);
      scaled += tau < 1;
    }
  }
  EXPECT_GE(scaled, 5);
}

TEST(QuasiNewton, equals_the_limited_memory_that_forgets_nothing) {
  Walk dense(torch::logspace(-1, 1, 9, 10, f64())), limited(torch::logspace(-1, 1, 9, 10, f64()));
  auto bfgs = bfgs_direction({.initial_scale = 0.3}, 9);
  auto lbfgs = lbfgs_direction({.memory = 6, .initial_scale = 0.3});
  for (int k = 0; k < 7; ++k) {
    Tensor p = dense.exact_step(*bfgs).displacement, q = limited.exact_step(*lbfgs).displacement;
    EXPECT_LT(relative_difference(p, q), 1e-9) << "step " << k;
  }
}

TEST(QuasiNewton, first_pair_sets_the_scale) {
  Walk walk(torch::linspace(1, 6, 6, f64()));
  Tensor g = walk.gradient();
  auto direction = bfgs_direction({}, 6);
  auto first = walk.exact_step(*direction);
  EXPECT_NEAR(first.displacement.norm().item<double>(), std::min(1.0, g.norm().item<double>()), 1e-14);
  Tensor s = walk.q.objective.layout().theta(), y = walk.q.A.matmul(s), H = inverse_of(*direction);
  Tensor z = normal({6}, 8);  // at right angles to s and y only H_0 is seen
  Tensor plane = std::get<0>(at::linalg_qr(at::stack({s, y}, 1)));
  z -= plane.matmul(plane.t().matmul(z));
  EXPECT_LT(relative_difference(H.matmul(z), z * (s.dot(y) / y.dot(y))), 1e-12);
}

TEST(QuasiNewton, says_when_it_leaves_out_a_pair_or_starts_again) {
  Walk walk(torch::linspace(1, 6, 6, f64()));
  auto direction = bfgs_direction({}, 6);
  walk.exact_step(*direction);
  Tensor before = inverse_of(*direction), g = walk.gradient(), s = normal({6}, 5);
  propose(*direction, walk.q.objective);
  tell(*direction, s, g - s);
  EXPECT_TRUE(inverse_of(*direction).equal(before));
  EXPECT_THAT(propose(*direction, walk.q.objective).note, HasSubstr("pair left out: s'y = -"));
  direction->rejected({});
  auto again = propose(*direction, walk.q.objective);
  EXPECT_EQ(again.note, "H dropped after a failed line search");
  EXPECT_LT(relative_difference(again.displacement / again.displacement.norm(), -g / g.norm()), 1e-14);
}

// Near the top of a quadratic H is negative definite: -H g would climb back.
TEST(QuasiNewton, rank_one_goes_along_the_gradient_where_its_direction_climbs) {
  Walk walk(-torch::linspace(1, 3, 3, f64()));
  auto direction = sr1_direction({.common = from_identity}, 3);
  for (uint64_t k = 0; k < 3; ++k) {
    propose(*direction, walk.q.objective);
    walk.move(*direction, normal({3}, 60 + k));
  }
  Tensor H = inverse_of(*direction), g = walk.gradient();
  EXPECT_LT(relative_difference(H, walk.q.A.inverse()), 1e-10);
  auto step = propose(*direction, walk.q.objective);
  EXPECT_THAT(step.note, HasSubstr("along the gradient"));
  EXPECT_LT(relative_difference(step.displacement / step.displacement.norm(), -g / g.norm()), 1e-14);
  EXPECT_TRUE(inverse_of(*direction).equal(H));
  // A step that H predicts to the bit of rounding teaches nothing.
  walk.move(*direction, 1e-3 * step.displacement);
  EXPECT_THAT(propose(*direction, walk.q.objective).note, HasSubstr("pair left out"));
}

TEST(QuasiNewton, refuses_a_matrix_that_is_too_large) {
  auto message = message_of([] { dfp_direction({}, 30000); }, ErrorKind::memory);
  EXPECT_THAT(message, HasSubstr("30000 x 30000 matrix of 6.7 GiB"));
  EXPECT_THAT(message, HasSubstr("10000 x 10000 matrix of 762.9 MiB"));
}

}  // namespace
}  // namespace osculant
