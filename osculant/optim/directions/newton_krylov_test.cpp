// The directions that solve with Hessian products: newton_cg, newton_minres, trust_region, cubic_newton.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/curvature/curvature.h"
#include "osculant/io/archive.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;
using testing::propose;
using testing::relative_difference;

// x^2/2 - y^2/2 + y^4/4: a saddle at 0, minima of -1/4 at (0, +-1).
Objective saddle(double x0, double y0) {
  Tensor p = torch::tensor({x0, y0}, f64()).requires_grad_();
  return Objective::function({{"p", p}},
                             [=] { return p[0].square() / 2 - p[1].square() / 2 + p[1].pow(4) / 4; });
}

Tensor gradient_of(const Objective& objective) {
  return objective.value_and_gradient().second;
}

Tensor hessian_of(const Objective& objective) {
  return dense(Hessian(objective)).matrix;
}

void expect_model(const Objective& objective, const Step& step, const std::string& what) {
  Tensor g = gradient_of(objective), H = hessian_of(objective);
  const Tensor& p = step.displacement;
  double slope = g.dot(p).item<double>(), value = slope + p.dot(H.mv(p)).item<double>() / 2;
  EXPECT_NEAR(step.slope, slope, 1e-9 * std::abs(slope)) << what;
  EXPECT_NEAR(step.predicted_change, value, 1e-9 * std::abs(value)) << what;
  EXPECT_LT(step.predicted_change, 0) << what;
}

StepOutcome taken_with(double rho) {
  StepOutcome outcome;
  outcome.accepted = true;
  outcome.rho = rho;
  return outcome;
}

TEST(NewtonCg, solves_the_damped_system) {
  auto q = testing::quadratic(torch::linspace(0.5, 3, 10, f64()));
  double eps = 1e-2;
  auto step = propose(*newton_cg_direction({.epsilon = eps, .tolerance = 1e-6}), q.objective);
  auto exact = at::linalg_solve(q.A + 2 * eps * torch::eye(10, f64()), q.b);
  EXPECT_LT(relative_difference(step.displacement, exact), 1e-5);
  expect_model(q.objective, step, "quadratic");
}

TEST(NewtonCg, follows_negative_curvature_downhill_and_says_so) {
  auto objective = saddle(0.1, 0.2);
  auto step = propose(*newton_cg_direction({}), objective);
  EXPECT_THAT(step.note, HasSubstr("negative curvature"));
  expect_model(objective, step, "saddle");
  // norm(p) = abs(d'Hd) / d'd
  Tensor p = step.displacement;
  double length = p.norm().item<double>();
  EXPECT_NEAR(length, -p.dot(hessian_of(objective).mv(p)).item<double>() / (length * length), 1e-9);
}

TEST(NewtonCg, leaves_a_saddle_that_the_gradient_does_not_show) {
  auto objective = saddle(0, 0);
  auto summary = minimize(objective, methods::newton_cg(), {.steps = 30});
  EXPECT_NEAR(summary.final_loss, -0.25, 1e-10) << summary.brief_report();
  auto stuck = saddle(0, 0);
  auto cubic = minimize(stuck, methods::cubic_newton(), {.steps = 5});
  EXPECT_EQ(cubic.final_loss, 0);  // a Krylov space from g = 0 holds nothing
}

TEST(NewtonCg, asks_for_the_smallest_eigenvalue_once) {
  auto q = testing::quadratic(torch::linspace(0.5, 3, 10, f64()));
  auto direction = newton_cg_direction({.gradient_tolerance = 1e3});
  auto first = propose(*direction, q.objective), second = propose(*direction, q.objective);
  EXPECT_THAT(first.note, HasSubstr("smallest eigenvalue >= -0.001"));
  EXPECT_EQ(second.note, "");
  EXPECT_LT(second.solver_iterations, first.solver_iterations);
  EXPECT_TRUE(first.displacement.defined());
}

TEST(NewtonMinres, takes_the_pseudo_inverse_step_of_a_singular_system) {
  auto q = testing::quadratic(torch::tensor({5.0, 3.0, 2.0, 1.0, 0.0, 0.0}, f64()));
  // A linear term along the null space: no minimum, and no part of the step.
  auto [l, V] = at::linalg_eigh(q.A);
  Tensor c = q.b + V.select(1, 0), x = torch::zeros({6}, f64()).requires_grad_(), A = q.A;
  auto objective = Objective::function({{"x", x}}, [=] { return x.dot(A.matmul(x)) / 2 - c.dot(x); });
  auto step = propose(*newton_minres_direction({.tolerance = 1e-8, .refine = true}), objective);
  EXPECT_LT(relative_difference(step.displacement, at::linalg_pinv(A, 1e-12).mv(c)), 1e-7)
      << step.solver_stop;
  EXPECT_THAT(step.solver_stop, HasSubstr("inconsistent"));
  expect_model(objective, step, "singular");
}

TEST(NewtonMinres, follows_the_residual_of_negative_curvature) {
  auto objective = saddle(0.1, 0.2);
  auto step = propose(*newton_minres_direction({}), objective);
  EXPECT_THAT(step.note, HasSubstr("negative curvature"));
  expect_model(objective, step, "saddle");
  Tensor p = step.displacement;
  EXPECT_NEAR(step.slope, -p.dot(p).item<double>(), 1e-12);  // g'r = -norm(r)^2
}

TEST(TrustRegion, keeps_its_radius_and_moves_it_by_the_gain_ratio) {
  auto q = testing::quadratic(torch::linspace(0.5, 3, 10, f64()));
  auto direction = trust_region_direction({.radius = 0.1});
  auto length = [&] { return propose(*direction, q.objective).displacement.norm().item<double>(); };
  EXPECT_NEAR(length(), 0.1, 1e-12);
  direction->accepted(taken_with(1));
  EXPECT_NEAR(length(), 0.2, 1e-12);
  direction->accepted(taken_with(0.5));
  EXPECT_NEAR(length(), 0.2, 1e-12);
  direction->accepted(taken_with(0.1));
  EXPECT_NEAR(length(), 0.05, 1e-12);
  direction->rejected({});
  EXPECT_NEAR(length(), 0.0125, 1e-12);
  Archive archive("test", 1);
  direction->save(archive);
  auto resumed = trust_region_direction({.radius = 7});
  resumed->load(archive, q.objective.layout());
  EXPECT_NEAR(propose(*resumed, q.objective).displacement.norm().item<double>(), 0.0125, 1e-12);
  expect_model(q.objective, propose(*direction, q.objective), "boundary");
}

TEST(TrustRegion, takes_newtons_step_inside_a_wide_region) {
  auto q = testing::quadratic(torch::linspace(0.5, 3, 10, f64()));
  auto step = propose(*trust_region_direction({.radius = 1e3, .tolerance = 1e-10}), q.objective);
  EXPECT_LT(relative_difference(step.displacement, at::linalg_solve(q.A, q.b)), 1e-9);
}

TEST(CubicNewton, minimises_the_cubic_model_and_moves_sigma) {
  auto objective = saddle(0.3, 0.2);
  Tensor g = gradient_of(objective), H = hessian_of(objective), I = torch::eye(2, f64());
  auto direction = cubic_newton_direction({.sigma = 2, .tolerance = 1e-10});
  auto expect_sigma = [&](double sigma) {
    auto step = propose(*direction, objective);
    const Tensor& p = step.displacement;
    double lambda = sigma * p.norm().item<double>();
    EXPECT_LT((H.mv(p) + lambda * p + g).norm().item<double>(), 1e-9) << sigma;
    double model =
        (g.dot(p) + p.dot(H.mv(p)) / 2).item<double>() + sigma / 3 * std::pow(p.norm().item<double>(), 3);
    EXPECT_NEAR(step.predicted_change, model, 1e-10) << sigma;
    EXPECT_THAT(step.note, HasSubstr("negative curvature"));
  };
  expect_sigma(2);
  direction->accepted(taken_with(0.95));
  expect_sigma(1);
  direction->accepted(taken_with(0.5));
  expect_sigma(1);
  direction->rejected({});
  expect_sigma(2);
}

TEST(CubicNewton, proposes_anew_from_the_same_basis) {
  auto objective = testing::small_mlp();
  auto direction = cubic_newton_direction({.sigma = 0.01});
  auto linearization = objective.linearize(direction->needs());
  RandomStream random(0, "test");
  Samples samples(objective, objective, random);
  StepContext context{*linearization, linearization->gradient(), samples, 1, random};
  direction->prepare(context);
  auto first = direction->propose(context, Damping());
  int64_t products = objective.ledger().products();
  direction->rejected({});
  auto second = direction->propose(context, Damping());
  EXPECT_EQ(objective.ledger().products(), products);
  EXPECT_LT(second.displacement.norm().item<double>(), first.displacement.norm().item<double>());
}

// On a network: to a loss that first-order methods do not see in as many steps.
TEST(NewtonKrylov, go_far_in_few_steps) {
  for (const auto& method :
       {methods::newton_cg(), methods::newton_minres(), methods::trust_region(), methods::cubic_newton()}) {
    auto objective = testing::small_mlp();
    auto summary = minimize(objective, method, {.steps = 100});
    EXPECT_LT(summary.final_loss, 1e-3) << summary.brief_report();
  }
}

TEST(NewtonKrylov, refuse_what_cannot_be_meant) {
  EXPECT_THROW(newton_cg_direction({.epsilon = 0}), Error);
  EXPECT_THROW(newton_cg_direction({.tolerance = 1}), Error);
  EXPECT_THROW(newton_minres_direction({.tolerance = 0}), Error);
  EXPECT_THROW(trust_region_direction({.radius = 0}), Error);
  EXPECT_THROW(trust_region_direction({.radius = 1, .maximum_radius = 0.5}), Error);
  EXPECT_THROW(cubic_newton_direction({.sigma = -1}), Error);
}

}  // namespace
}  // namespace osculant
