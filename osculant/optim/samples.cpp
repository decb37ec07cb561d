#include "osculant/optim/samples.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "osculant/base/error.h"

namespace osculant {

Samples::Samples(const Objective& whole, const Objective& batch, RandomStream& random)
    : whole_(whole), batch_(batch), random_(random) {}

int64_t Samples::batch_examples() const {
  return batch_.examples();
}

Objective Samples::draw(const Objective& from, double share, bool shuffled) const {
  if (!from.has_outputs() || share >= 1) return from;
  std::vector<BatchSource> data;
  for (const auto& term : from.terms()) {
    int64_t all = term.data.examples();
    auto count =
        std::clamp(static_cast<int64_t>(std::llround(share * static_cast<double>(all))), int64_t{1}, all);
    Tensor indices = shuffled ? random_.permutation(all).narrow(0, 0, count) : at::arange(count, at::kLong);
    auto chosen = std::make_shared<BatchInMemory>(term.data.select(indices));
    // A model that couples examples was given its batch whole.
    data.emplace_back(chosen,
                      term.model.couples_examples() ? count : std::min(count, term.data.batch_size()));
  }
  return from.on(std::move(data));
}

std::shared_ptr<Linearization> Samples::part(double share, const Needs& needs) const {
  require_between("share of the batch", share, 0, 1);
  bool full = batch_.examples() == whole_.examples();
  return draw(batch_, share, full).linearize(needs);
}

std::shared_ptr<Linearization> Samples::fresh(const Needs& needs) const {
  double share = static_cast<double>(batch_.examples()) / static_cast<double>(whole_.examples());
  return draw(whole_, share, true).linearize(needs);
}

}  // namespace osculant
