#include "osculant/optim/directions/lbfgs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::propose;
using testing::relative_difference;

class LbfgsDirection : public ::testing::Test {
 protected:
  LbfgsDirection() : q(testing::quadratic(torch::linspace(0.5, 6, 7, f64()))) {}

  Tensor gradient_at(const Tensor& x) const { return q.A.matmul(x) - q.b; }

  // Moves theta by s and tells the direction of a gradient that changed by y.
  void move(Direction& direction, const Tensor& s, const Tensor& y) {
    q.objective.layout().add(s);
    StepOutcome outcome;
    outcome.accepted = true;
    outcome.displacement = s;
    outcome.new_gradient = last + y;
    direction.accepted(outcome);
  }

  Step at_theta(Direction& direction) {
    last = gradient_at(q.objective.layout().theta());
    return propose(direction, q.objective);
  }

  testing::Quadratic q;
  Tensor last;
};

// H+ = (I - s y'/s'y) H (I - y s'/s'y) + s s'/s'y (Nocedal & Wright 2006, 6.17) from H = s'y / y'y of the
// last pair.
TEST_F(LbfgsDirection, is_the_dense_bfgs_matrix_of_its_pairs) {
  auto direction = lbfgs_direction({.memory = 3});
  std::vector<Tensor> S;
  at_theta(*direction);
  for (uint64_t i = 0; i < 5; ++i) {
    S.push_back(testing::normal({7}, 40 + i));
    move(*direction, S.back(), q.A.matmul(S.back()));
    at_theta(*direction);
  }
  Tensor I = torch::eye(7, f64()), H;
  for (size_t i = 2; i < 5; ++i) {  // memory 3: the last three pairs
    Tensor s = S[i], y = q.A.matmul(s), r = 1 / s.dot(y);
    if (!H.defined()) H = I * (S[4].dot(q.A.matmul(S[4])) / q.A.matmul(S[4]).square().sum());
    Tensor left = I - r * s.outer(y);
    H = left.matmul(H).matmul(left.t()) + r * s.outer(s);
  }
  auto step = propose(*direction, q.objective);
  EXPECT_LT(relative_difference(step.displacement, -H.matmul(last)), 1e-12);
}

TEST_F(LbfgsDirection, says_when_it_leaves_out_a_pair_or_starts_again) {
  auto direction = lbfgs_direction({});
  auto first = at_theta(*direction);
  Tensor s = testing::normal({7}, 50);
  move(*direction, s, -s);  // negative curvature
  auto second = at_theta(*direction);
  EXPECT_THAT(second.note, ::testing::HasSubstr("pair left out"));
  EXPECT_LT(relative_difference(second.displacement / second.displacement.norm(), -last / last.norm()),
            1e-12);
  move(*direction, s, q.A.matmul(s));
  EXPECT_EQ(at_theta(*direction).note, "");
  direction->rejected({});
  auto again = at_theta(*direction);
  EXPECT_THAT(again.note, ::testing::HasSubstr("memory emptied"));
  EXPECT_LT(relative_difference(again.displacement / again.displacement.norm(), -last / last.norm()), 1e-12);
}

}  // namespace
}  // namespace osculant
