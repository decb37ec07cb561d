#include "osculant/curvature/squared_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "osculant/comm/flat_reduction.h"
#include "osculant/curvature/kronecker_factors.h"

namespace osculant {
namespace {

// In the unit vectors as bases EKFAC's eigenvalues are the sums of squares.
std::vector<EigenBlock> unit_bases(const LayerSample& sample, const at::TensorOptions& options) {
  std::vector<EigenBlock> bases;
  std::set<int64_t> offsets;
  for (const UseSample& use : sample.uses) {
    const MatrixPlace& p = use.place;
    if (!offsets.insert(p.offset).second) continue;
    bases.push_back({use.name, p, BlockDiagonal({at::ones({p.groups, p.rows}, options)}),
                     BlockDiagonal({at::ones({p.groups, p.columns}, options)}),
                     at::zeros({p.groups, p.rows, p.columns}, options)});
  }
  return bases;
}

// The sum over examples of (w_i dl_i/dtheta)^2, [n].
Tensor sum_of_squares(LayerSample sample, const ParameterLayout& layout) {
  sample.share = sample.share > 0 ? 1 : 0;  // what this process does not count stays so
  sample.denominator = 1;
  if (sample.weights.defined()) sample.weights = sample.weights.square();
  EigenvalueSums sums(unit_bases(sample, layout.options()));
  sums.add(sample);
  Tensor result = at::zeros({layout.size()}, layout.options());
  for (const EigenBlock& block : sums.blocks()) block.place.put(block.values, result);
  return result;
}

struct TermSum {
  Tensor squares;
  double denominator = 0;
};

}  // namespace

SquaredGradients mean_squared_gradients(const Objective& objective) {
  LayerSampler sampler({.gradients = ScoreGradients::empirical, .untapped = false});
  RandomStream nothing_is_drawn(0, "squared_gradients");
  SquaredGradients result;
  std::map<size_t, TermSum> terms;
  sampler.run(objective, nothing_is_drawn, [&](const LayerSample& sample) {
    TermSum& term = terms[sample.term];
    Tensor squares = sum_of_squares(sample, objective.layout());
    term.squares = term.squares.defined() ? term.squares.add_(squares) : squares;
    term.denominator += sample.denominator;
    for (const auto& parameter : sample.untapped) {
      bool known = std::any_of(result.untapped.begin(), result.untapped.end(),
                               [&](const auto& other) { return other.index == parameter.index; });
      if (!known) result.untapped.push_back(parameter);
    }
  });
  std::vector<Tensor> sums;
  Tensor denominators = at::zeros({static_cast<int64_t>(terms.size())}, at::kDouble);
  int64_t at = 0;
  for (auto& [t, term] : terms) {
    sums.push_back(term.squares);
    denominators[at++] = term.denominator;
  }
  sums.push_back(denominators);
  all_reduce_sum(objective.communicator(), sums);
  at = 0;
  for (auto& [t, term] : terms) term.denominator = denominators[at++].item<double>();
  // An example's gradient is N scale w_i dl_i/dtheta, the objective their mean.
  result.mean = at::zeros({objective.parameters()}, objective.layout().options());
  for (const auto& [t, term] : terms) {
    double scale = objective.terms()[t].weight / term.denominator;
    result.mean.add_(term.squares, scale * scale * static_cast<double>(objective.terms()[t].data.examples()));
  }
  for (const auto& parameter : result.untapped) {
    const auto& at = objective.layout().parameters()[parameter.index];
    result.mean.narrow(0, at.offset, at.size).zero_();
  }
  return result;
}

}  // namespace osculant
