// What walks the layers of a batch, shared by its examples, and what is dealt out by layers. Run by mpirun,
// as processes_test.cpp says.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>
#include <utility>
#include <vector>

#include "osculant/curvature/example_gradients.h"
#include "osculant/curvature/kfac.h"
#include "osculant/curvature/squared_gradients.h"
#include "osculant/diagnose/gradient_flow.h"
#include "osculant/linop/dealt_blocks.h"
#include "osculant/objective/testing.h"
#include "tests/processes.h"

namespace osculant {
namespace {

using layer_case::normal;
using testing::kRounding;
using testing::same_everywhere;

// Of the larger of the two, so that zeros may meet zeros.
double apart(const Tensor& a, const Tensor& b) {
  double scale = std::max(a.norm().item<double>(), b.norm().item<double>());
  return scale > 0 ? (a - b).norm().item<double>() / scale : 0;
}

struct Named {
  std::string name;
  Objective objective;
};

// The examples of a case, over and over.
Batch enlarged(const LayerCase::Made& made, int64_t examples) {
  return made.batch.select(at::arange(examples, at::kLong).remainder(made.batch.size()));
}

// As they are, few; in one batch; in batches some of which have fewer examples than processes; weighted.
std::vector<Named> objectives() {
  std::vector<Named> all;
  for (const auto& layers : layer_cases()) {
    auto made = layers.make();
    Batch batch = enlarged(made, 19), weighted = batch;
    weighted.weights = normal({batch.size()}, 3).abs();
    auto data = std::make_shared<Dataset>(batch), heavy = std::make_shared<Dataset>(weighted);
    auto of = [&](const BatchSource& source) { return made.objective.on(std::vector<BatchSource>{source}); };
    all.push_back({layers.name, made.objective});
    all.push_back({layers.name + " in one batch", of(data->full())});
    all.push_back({layers.name + " in batches", of(heavy->batches(2))});
    all.push_back({layers.name + " weighted", of(heavy->full())});
  }
  return all;
}

void expect_same_blocks(const std::vector<KroneckerBlock>& shared, const std::vector<KroneckerBlock>& alone) {
  ASSERT_EQ(shared.size(), alone.size());
  for (size_t b = 0; b < shared.size(); ++b) {
    SCOPED_TRACE(shared[b].name);
    auto mine = matrices_of(shared[b]), theirs = matrices_of(alone[b]);
    for (size_t i = 0; i < mine.size(); ++i) {
      EXPECT_LT(apart(mine[i], theirs[i]), kRounding);
      EXPECT_TRUE(same_everywhere(mine[i]));
    }
  }
}

TEST(Processes, ShareKroneckerFactors) {
  for (const auto& [name, objective] : objectives()) {
    SCOPED_TRACE(name);
    for (auto gradients : {ScoreGradients::sampled, ScoreGradients::empirical}) {
      KfacOptions options{.sample = {.gradients = gradients, .draws = 2, .seed = 3}};
      double before = objective.ledger().gradient_equivalents();
      auto shared = kfac(objective, options);
      double once = objective.ledger().gradient_equivalents();
      auto alone = kfac(objective.on_one_process(), options);
      double charged = objective.ledger().gradient_equivalents() - once;
      expect_same_blocks(shared.matrix->blocks(), alone.matrix->blocks());
      EXPECT_NEAR(once - before, charged, 1e-9 * charged);
    }
  }
}

TEST(Processes, ShareEigenvaluesOfLayers) {
  for (const auto& [name, objective] : objectives()) {
    SCOPED_TRACE(name);
    KfacOptions options{.sample = {.seed = 3}};
    auto alone = ekfac(objective.on_one_process(), options).matrix;
    // Eigenvectors are anybody's choice where eigenvalues meet; from bases given there is one answer.
    auto shared = ekfac(objective, options, *alone, EkfacBases::kept).matrix;
    auto refreshed = ekfac(objective, options, *alone, EkfacBases::refreshed).matrix;
    ASSERT_EQ(shared->blocks().size(), alone->blocks().size());
    for (size_t b = 0; b < alone->blocks().size(); ++b) {
      EXPECT_LT(apart(shared->blocks()[b].values, alone->blocks()[b].values), kRounding);
      EXPECT_TRUE(same_everywhere(refreshed->blocks()[b].values));
    }
    EXPECT_NEAR(refreshed->trace(), alone->trace(), 1e-10 * alone->trace());
    EXPECT_NEAR(ekfac(objective, options).matrix->trace(), alone->trace(), 1e-10 * alone->trace());
  }
}

// Every example is one process's.
TEST(Processes, WalkTheirOwnExamples) {
  auto made = layer_cases()[0].make();
  const auto& world = world_communicator();
  for (int64_t examples : {int64_t{6}, int64_t{37}}) {
    Batch batch = enlarged(made, examples);
    RandomStream random(1, "test");
    int64_t seen = 0;
    LayerSampler(LayerSampleOptions{}).run(made.objective.on(batch), random, [&](const LayerSample& sample) {
      if (sample.share > 0) seen += sample.uses[0].examples();
    });
    // The first batch of up to 16 examples is looked at whole, to learn its layers, and counted by the last.
    bool last = world.rank() == world.size() - 1;
    EXPECT_EQ(seen, examples > 16 ? share_of(examples, world).size() : last ? examples : 0);
  }
}

TEST(Processes, ShareNumbersOfExamples) {
  for (const auto& [name, objective] : objectives()) {
    SCOPED_TRACE(name);
    if (objective.terms()[0].model.couples_examples()) continue;
    Objective one = objective.on_one_process();
    Tensor norms, theirs, v = normal({objective.parameters()}, 7);
    Tensor along = gradient_products(objective, v, &norms), expected = gradient_products(one, v, &theirs);
    EXPECT_LT(apart(along, expected), kRounding);
    EXPECT_LT(apart(norms, theirs), kRounding);
    EXPECT_TRUE(same_everywhere(norms));
    EXPECT_LT(apart(squared_gradient_norms(objective), theirs), kRounding);
    EXPECT_LT(apart(mean_squared_gradients(objective).mean, mean_squared_gradients(one).mean), kRounding);
  }
}

TEST(Processes, ShareTheFlowOfGradients) {
  for (const auto& [name, objective] : objectives()) {
    SCOPED_TRACE(name);
    GradientFlow shared = gradient_flow(objective), alone = gradient_flow(objective.on_one_process());
    EXPECT_EQ(shared.examples, alone.examples);
    EXPECT_EQ(shared.words, alone.words);
    ASSERT_EQ(shared.layers.size(), alone.layers.size());
    auto expect_near = [](double a, double b) {
      if (std::isnan(b)) {
        EXPECT_TRUE(std::isnan(a));
      } else {
        EXPECT_NEAR(a, b, kRounding * std::abs(b));
      }
    };
    for (size_t i = 0; i < alone.layers.size(); ++i) {
      const LayerFlow &mine = shared.layers[i], &theirs = alone.layers[i];
      EXPECT_EQ(mine.name, theirs.name);
      expect_near(mine.forward_variance, theirs.forward_variance);
      expect_near(mine.scale, theirs.scale);
      expect_near(mine.backward_norm, theirs.backward_norm);
      expect_near(mine.gradient_ratio, theirs.gradient_ratio);
      expect_near(mine.dead, theirs.dead);
      expect_near(mine.saturated, theirs.saturated);
    }
  }
}

TEST(Processes, DealWorkByCost) {
  // The dearest first: 7 | 6, 1 | 5, 2.
  EXPECT_EQ(processes_by_cost({2, 5, 7, 1, 6}, 3), (std::vector<int64_t>{2, 2, 0, 1, 1}));
  const auto& world = world_communicator();
  int64_t done = 0, fails = -1;
  DealtWork all;
  all.costs = {1, 8, 3, 5, 2};
  all.like = [](size_t i) {
    return std::vector<Tensor>{at::empty({static_cast<int64_t>(i), 2}), at::empty({1})};
  };
  all.work = [&](size_t i) -> std::optional<std::vector<Tensor>> {
    ++done;
    if (static_cast<int64_t>(i) == fails) return std::nullopt;
    auto x = static_cast<double>(i);
    return std::vector<Tensor>{at::full({static_cast<int64_t>(i), 2}, x), at::full({1}, -x)};
  };
  auto found = deal(all, world);
  ASSERT_TRUE(found);
  for (size_t i = 0; i < 5; ++i) {
    auto x = static_cast<double>(i);
    EXPECT_TRUE((*found)[i][0].equal(at::full({static_cast<int64_t>(i), 2}, x)));
    EXPECT_TRUE((*found)[i][1].equal(at::full({1}, -x)));
  }
  Tensor sum = at::full({1}, done, at::kLong);
  world.all_reduce_sum(sum);
  EXPECT_EQ(sum.item<int64_t>(), 5);  // each once
  fails = 3;
  EXPECT_FALSE(deal(all, world));  // on all of them
}

}  // namespace
}  // namespace osculant
