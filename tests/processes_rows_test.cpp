// Vectors whose rows are dealt out to processes, and what is found with bases of them. Run by mpirun, as
// processes_test.cpp says.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/memory.h"
#include "osculant/linop/by_rows.h"
#include "osculant/linop/operators.h"
#include "osculant/linop/orthonormalize.h"
#include "osculant/optim/testing.h"
#include "osculant/spectrum/alignment.h"
#include "osculant/spectrum/density.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/low_rank_curve.h"
#include "osculant/spectrum/rank.h"
#include "osculant/spectrum/trace.h"
#include "tests/processes.h"

namespace osculant {
namespace {

using testing::kRounding;
using testing::normal;
using testing::relative_difference;
using testing::same_everywhere;

// Tall blocks whose rows are dealt out, one of them with fewer rows than there are processes.
TEST(Processes, DealOutRowsOfVectors) {
  const auto& world = world_communicator();
  for (int64_t n : {int64_t{3}, int64_t{1001}}) {
    VectorSpace whole(n, at::kDouble), dealt = whole.dealt_to(world);
    Tensor X = normal({4, n}, 1).t().narrow(1, 0, std::min<int64_t>(n, 4)), y = normal({n}, 2);
    Tensor rows = dealt.rows_of(X);
    EXPECT_EQ(rows.size(0), share_of(n, world).size());
    EXPECT_TRUE(dealt.gather(rows).equal(X));
    EXPECT_TRUE(dealt.gather(dealt.rows_of(y)).equal(y));
    Tensor first = dealt.gather_on_first(rows);
    EXPECT_EQ(first.defined(), world.is_first());
    EXPECT_TRUE(!first.defined() || first.equal(X));
    EXPECT_NEAR(dealt.dot(dealt.rows_of(y), dealt.rows_of(y)), whole.dot(y, y), kRounding * whole.dot(y, y));
    EXPECT_LT(relative_difference(dealt.gram(rows, rows), whole.gram(X, X)), kRounding);
    auto c = dealt.coefficients({rows, rows.narrow(1, 0, 1)}, dealt.rows_of(y));
    EXPECT_LT(relative_difference(c[0], X.t().mv(y)), kRounding);
    EXPECT_LT(relative_difference(c[1], X.t().mv(y).narrow(0, 0, 1)), kRounding);
    auto [Q, R] = dealt.qr(rows);
    EXPECT_LE((Q.mm(R) - rows).norm().item<double>(), kRounding * X.norm().item<double>());
    EXPECT_LT(relative_difference(dealt.gram(Q, Q), at::eye(Q.size(1), at::kDouble)), kRounding);
    EXPECT_TRUE(same_everywhere(R));
    RandomStream a(3, "rows"), b(3, "rows");
    EXPECT_TRUE(dealt.gather(dealt.normal(a, 2)).equal(whole.normal(b, 2)));
    EXPECT_TRUE(dealt.gather(dealt.unit_vectors(1, 2)).equal(whole.unit_vectors(1, 2)));
    Tensor spoilt = at::ones({n}, at::kDouble);
    spoilt[n - 1] = std::nan("");
    EXPECT_FALSE(dealt.all_finite(dealt.rows_of(spoilt)));
    EXPECT_TRUE(dealt.all_finite(rows));
  }
  // Dependent columns, which Cholesky cannot do.
  VectorSpace dealt = VectorSpace(500, at::kDouble).dealt_to(world);
  Tensor X = normal({500, 3}, 5);
  X = at::cat({X, X.select(1, 1).unsqueeze(1) * 2}, 1).t().contiguous().t();
  auto found = orthonormalize(dealt, dealt.rows_of(X));
  EXPECT_EQ(found.rank, 3);
  EXPECT_LE((found.Q.mm(found.R) - dealt.rows_of(X)).norm().item<double>(),
            kRounding * X.norm().item<double>());
  EXPECT_LT(relative_difference(dealt.gram(found.Q, found.Q), at::eye(3, at::kDouble)), kRounding);
}

// A spectrum of a few large and many small eigenvalues of both signs, one of them double.
OperatorPtr with_spectrum(int64_t n) {
  Tensor d = at::cat({at::tensor({40., 31., 31., 20., 12., -9., -7.}, at::kDouble),
                      at::linspace(-1, 1, n - 7, at::kDouble)});
  Tensor u = normal({n}, 8);
  u = u / u.norm();
  auto reflect = [u](const Tensor& X) { return X - at::outer(2 * u, u.matmul(X)); };
  auto f = [d, reflect](const Tensor& X) { return reflect(d.unsqueeze(1) * reflect(X)); };
  return function_operator(VectorSpace(n, at::kDouble), f, "reflected");
}

// Bases dealt out by rows: with and without restarts, from vectors at hand, by blocks, formed.
TEST(Processes, FindTheSameEigenpairsByRows) {
  auto A = with_spectrum(400);
  auto dealt = by_rows(A, world_communicator());
  const VectorSpace& space = dealt->domain();
  Tensor start = normal({3, 400}, 21).t();
  EigenOptions plain{.count = 3, .target = EigenTarget::both, .tolerance = 1e-8};
  EigenOptions restarted = plain, blocks = plain, warm = plain, formed = plain;
  restarted.krylov_dimension = 40;
  blocks.block = 2;
  warm.start = start;
  formed.dense_limit = 1000;
  for (EigenOptions options : {plain, restarted, blocks, warm, formed}) {
    EigenResult alone = eigenpairs(*A, options);
    if (options.start.defined()) options.start = space.rows_of(start);
    EigenResult shared = eigenpairs(*dealt, options);
    SCOPED_TRACE(shared.report());
    EXPECT_EQ(shared.products, alone.products);
    EXPECT_LT(relative_difference(shared.values, alone.values), 1e-10);
    EXPECT_EQ(shared.vectors.size(0), space.local_size());
    Tensor V = space.gather(shared.vectors);
    EXPECT_TRUE(same_everywhere(V));
    EXPECT_LT(relative_difference(V.t().mm(V), at::eye(6, at::kDouble)), 1e-10);
    EXPECT_LT((A->apply(V) - V * shared.values).norm().item<double>(), 1e-6);
    EXPECT_TRUE(eigenpairs(*dealt, options).vectors.equal(shared.vectors));  // to the bit
  }
}

// A process holds its rows of the basis, and whole a few vectors on the way.
TEST(Processes, HoldTheirRowsOfABasis) {
  constexpr int64_t n = 100000, basis = 60;
  auto dealt = by_rows(with_spectrum(n), world_communicator());
  MemoryMeter meter;
  eigenpairs(*dealt, {.count = 3, .krylov_dimension = basis, .check_products = 0});
  double vectors = static_cast<double>(meter.peak()) / (n * sizeof(double));
  EXPECT_LT(vectors, (basis + 1 + 4 * 3) / static_cast<double>(world_communicator().size()) + 12);
}

// What is made of such bases and of probes.
TEST(Processes, MeasureTheSameByRows) {
  auto A = with_spectrum(400);
  auto dealt = by_rows(A, world_communicator());
  auto expect_near = [](double a, double b) { EXPECT_NEAR(a, b, 1e-10 * std::abs(b)); };
  auto a = trace(*dealt, {.products = 60}), b = trace(*A, {.products = 60});
  expect_near(a.value, b.value);
  expect_near(a.high - a.low, b.high - b.low);
  auto rank_a = rank(*dealt), rank_b = rank(*A);
  expect_near(rank_a.frobenius.value, rank_b.frobenius.value);
  expect_near(rank_a.effective.value, rank_b.effective.value);
  auto density = [](const LinearOperator& of) { return spectral_density(sample_spectrum(of)).density; };
  EXPECT_LT(relative_difference(density(*dealt), density(*A)), 1e-10);
  for (auto method : {LowRankMethod::randomized_svd, LowRankMethod::randomized_qr, LowRankMethod::svd,
                      LowRankMethod::indefinite_nystrom, LowRankMethod::lanczos}) {
    auto low_a = low_rank(*dealt, {.method = method, .count = 4});
    auto low_b = low_rank(*A, {.method = method, .count = 4});
    EXPECT_LT(relative_difference(low_a.values, low_b.values), 1e-10) << to_string(method);
    expect_near(low_a.error, low_b.error);
  }
  EigenOptions both{.count = 3, .target = EigenTarget::both, .tolerance = 1e-11};
  EigenResult pairs_a = eigenpairs(*dealt, both), pairs_b = eigenpairs(*A, both);
  auto curves_a = low_rank_curves(*dealt, {.count = 4}, &pairs_a),
       curves_b = low_rank_curves(*A, {.count = 4}, &pairs_b);
  for (size_t i = 0; i < curves_a.curves.size(); ++i)
    for (size_t k = 0; k < curves_a.curves[i].error.size(); ++k)
      EXPECT_NEAR(curves_a.curves[i].error[k].value, curves_b.curves[i].error[k].value, 1e-10);
  Tensor g = normal({400}, 4);
  const VectorSpace& space = dealt->domain();
  auto near_a = align(pairs_a, space.rows_of(g), space), near_b = align(pairs_b, g);
  for (size_t i : {size_t{0}, size_t{2}})  // the second and the third eigenvalue are one
    expect_near(near_a.largest.shares[i].value, near_b.largest.shares[i].value);
}

}  // namespace
}  // namespace osculant
