#include "osculant/optim/directions/lsr1.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <vector>

#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;
using testing::normal;
using testing::propose;
using testing::relative_difference;

struct Pairs {
  std::vector<Tensor> S, Y;
};

// Steps of a quadratic with this spectrum; the last pair is left as told.
Pairs walk(const testing::Quadratic& q, Direction& direction, int64_t steps) {
  Pairs pairs;
  for (int64_t i = 0; i < steps; ++i) {
    propose(direction, q.objective);
    Tensor s = normal({q.b.numel()}, 70 + static_cast<uint64_t>(i)), y = q.A.matmul(s);
    q.objective.layout().add(s);
    StepOutcome outcome;
    outcome.accepted = true;
    outcome.displacement = s;
    outcome.new_gradient = q.A.matmul(q.objective.layout().theta()) - q.b;
    direction.accepted(outcome);
    pairs.S.push_back(s);
    pairs.Y.push_back(y);
  }
  return pairs;
}

// H_0 = gamma I corrected by the pairs from `first` on, one after the other.
Tensor dense_sr1(const Pairs& pairs, size_t first) {
  const Tensor &s = pairs.S.back(), &y = pairs.Y.back();
  Tensor H = torch::eye(s.numel(), f64()) * (s.dot(y).abs() / y.dot(y) / 2);
  for (size_t i = first; i < pairs.S.size(); ++i) {
    Tensor d = pairs.S[i] - H.matmul(pairs.Y[i]);
    H = H + d.outer(d) / d.dot(pairs.Y[i]);
  }
  return H;
}

TEST(Lsr1, is_the_dense_matrix_of_its_pairs) {
  auto q = testing::quadratic(torch::linspace(0.5, 6, 9, f64()));
  auto direction = lsr1_direction({.memory = 3});
  auto pairs = walk(q, *direction, 5);
  Tensor H = dense_sr1(pairs, 2);
  auto [values, vectors] = at::linalg_eigh(H);
  Tensor absolute = vectors.matmul(at::diag(values.abs())).matmul(vectors.t());
  auto step = propose(*direction, q.objective);
  Tensor g = q.A.matmul(q.objective.layout().theta()) - q.b;
  EXPECT_LT(relative_difference(step.displacement, -absolute.matmul(g)), 1e-10);
  EXPECT_NEAR(step.slope, g.dot(step.displacement).item<double>(), 1e-12 * std::abs(step.slope));
}

TEST(Lsr1, takes_absolute_values_of_what_is_indefinite) {
  auto q = testing::quadratic(torch::tensor({-4.0, -1.0, 0.5, 1.0, 2.0, 3.0, 5.0}, f64()));
  auto direction = lsr1_direction({.memory = 7});
  auto pairs = walk(q, *direction, 7);
  auto step = propose(*direction, q.objective);
  auto [values, vectors] = at::linalg_eigh(q.A);  // seven independent pairs know all of it
  Tensor g = q.A.matmul(q.objective.layout().theta()) - q.b;
  Tensor expected = -vectors.matmul(vectors.t().matmul(g) / values.abs());
  EXPECT_LT(relative_difference(step.displacement, expected), 1e-7);
  EXPECT_THAT(step.note, HasSubstr("absolute values taken of 2 negative eigenvalues"));
  EXPECT_LT(step.slope, 0);
}

TEST(Lsr1, lets_a_pair_that_repeats_another_correct_nothing) {
  auto q = testing::quadratic(torch::linspace(0.5, 6, 9, f64()));
  auto direction = lsr1_direction({.memory = 4}), once = lsr1_direction({.memory = 4});
  Tensor s = normal({9}, 5), gradient = -q.b;
  for (int times : {1, 2}) {
    auto& told = times == 1 ? *once : *direction;
    for (int i = 0; i < times; ++i) {
      propose(told, q.objective);
      StepOutcome outcome;
      outcome.accepted = true;
      outcome.displacement = s;
      outcome.new_gradient = gradient + q.A.matmul(s);
      told.accepted(outcome);
    }
  }
  EXPECT_LT(relative_difference(propose(*direction, q.objective).displacement,
                                propose(*once, q.objective).displacement),
            1e-12);
}

}  // namespace
}  // namespace osculant
