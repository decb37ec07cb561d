#include "osculant/curvature/fisher.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/outer_product.h"
#include "osculant/objective/output_derivatives.h"

namespace osculant {
namespace {

std::shared_ptr<Linearization> linearize(const Objective& objective, const char* name) {
  require_likelihood(objective, name);
  return objective.without_regularizers().linearize({.gauss_newton = true});
}

// Uniform numbers [count, entries] for the examples first, first + 1, ..., drawn in blocks of examples that
// begin where they begin whatever the batches are.
Tensor uniforms(uint64_t seed, size_t term, int64_t draw, int64_t first, int64_t count, int64_t entries) {
  constexpr int64_t block = 256;
  std::vector<Tensor> parts;
  for (int64_t begin = first / block * block; begin < first + count; begin += block) {
    RandomStream random(seed, fmt::format("sampled Fisher {} {} {}", term, begin, draw));
    Tensor u = random.uniform({block, entries}, at::kDouble);
    int64_t from = std::max(first, begin) - begin, to = std::min(first + count, begin + block) - begin;
    parts.push_back(u.narrow(0, from, to - from));
  }
  return at::cat(parts);
}

}  // namespace

void require_likelihood(const Objective& objective, const std::string& what) {
  for (size_t t = 0; t < objective.terms().size(); ++t) {
    const Term& term = objective.terms()[t];
    auto likelihood = term.loss->likelihood();
    if (!likelihood)
      fail_usage(
          fmt::format("{}: the loss {} is the negative log likelihood of no distribution that targets could "
                      "be drawn from{}; use gauss_newton",
                      what, term.loss.name(),
                      term.loss.name() == "cross_entropy" ? " with class weights or label smoothing" : ""));
    for (int64_t b = 0; b < term.data.batches(); ++b) {
      std::string refusal = likelihood->refusal(term.data.batch(b).targets.at(0).tensor);
      if (!refusal.empty())
        fail_usage(fmt::format("{}: {}, so {} is no negative log likelihood of them; use gauss_newton", what,
                               refusal, term.loss.name()));
    }
  }
}

Fisher::Fisher(const Objective& objective)
    : LinearOperator(parameter_space(objective), parameter_space(objective), "fisher"),
      linearization_(linearize(objective, "fisher")) {}

Tensor Fisher::apply_block(const Tensor& X) const {
  return linearization_->gauss_newton_product(X);
}

void SampledFisherOptions::check() const {
  require_at_least("draws", static_cast<double>(draws), 1);
}

struct SampledFisher::Scores {
  size_t term;
  int64_t first;
  std::vector<Tensor> of_draw;  // dl/dz at the drawn targets, one for each draw
};

SampledFisher::SampledFisher(const Objective& objective, const SampledFisherOptions& options)
    : LinearOperator(parameter_space(objective), parameter_space(objective), "sampled_fisher"),
      options_(options) {
  options.check();
  linearization_ = linearize(objective, "sampled_fisher");
}

SampledFisher::~SampledFisher() = default;

const std::vector<Tensor>& SampledFisher::scores(const OutputsOfBatch& at) const {
  if (last_ && last_->term == at.term && last_->first == at.first) return last_->of_draw;
  last_ = std::make_unique<Scores>(Scores{at.term, at.first, {}});
  const Tensor& z = at.outputs[0];
  Batch batch = unweighted(at.batch);
  Tensor& y = batch.targets[0].tensor;
  auto shape = y.sizes().vec();
  int64_t count = y.size(0), entries = count > 0 ? y.numel() / count : 0;
  for (int64_t m = 0; m < options_.draws; ++m) {
    Tensor u = uniforms(options_.seed, at.term, m, at.first, count, entries).to(z.device());
    y = at.loss.likelihood()->draw(z, u.view(shape));
    last_->of_draw.push_back(output_gradients(at.loss, at.outputs, batch)[0]);
  }
  return last_->of_draw;
}

Tensor SampledFisher::apply_block(const Tensor& X) const {
  return linearization_->output_product(X, [&](const OutputsOfBatch& at, const std::vector<Tensor>& V) {
    Tensor sum = at::zeros_like(V[0]);
    for (const Tensor& s : scores(at)) {
      Tensor dots = example_dots({s}, V) / static_cast<double>(options_.draws);
      if (at.batch.weights.defined()) dots = dots * at.batch.weights.to(dots.options());
      sum += scaled_by_example({s}, dots)[0];
    }
    return std::vector<Tensor>{sum};
  });
}

// With q_im = (s_im'J_i v)^2 and p_i = w_i scale: the sum of p_i mean_m q_im, whose variance over draws is
// the sum of p_i^2 var_m(q_im) / M.
QuadraticForm SampledFisher::quadratic_form(const Tensor& v) const {
  QuadraticForm form;
  double variance = 0;
  auto M = static_cast<double>(options_.draws);
  linearization_->output_product(v, [&](const OutputsOfBatch& at, const std::vector<Tensor>& V) {
    std::vector<Tensor> squares;
    for (const Tensor& s : scores(at)) squares.push_back(example_dots({s}, V).to(at::kDouble).square());
    Tensor q = at::stack(squares), p = at::full({q.size(1)}, linearization_->scale(at.term), q.options());
    if (at.batch.weights.defined()) p = p * at.batch.weights.to(q.options());
    form.value += p.dot(q.mean(0)).item<double>();
    if (options_.draws > 1) variance += (p.square() * q.var(0)).sum().item<double>() / M;
    return std::vector<Tensor>{at::zeros_like(V[0])};
  });
  Tensor sums = at::tensor({form.value, variance}, at::kDouble);
  linearization_->objective().communicator().all_reduce_sum(sums);
  form.value = sums[0].item<double>();
  variance = sums[1].item<double>();
  form.standard_error = options_.draws > 1 ? std::sqrt(variance) : std::numeric_limits<double>::quiet_NaN();
  return form;
}

}  // namespace osculant
