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

namespace {

int64_t share_of(int64_t examples, double share) {
  auto count = static_cast<int64_t>(std::llround(share * static_cast<double>(examples)));
  return std::clamp(count, int64_t{1}, examples);
}

BatchSource chosen(const Term& term, const Tensor& indices) {
  int64_t count = indices.numel();
  // A model that couples examples was given its batch whole.
  int64_t size = term.model.couples_examples() ? count : std::min(count, term.data.batch_size());
  return {std::make_shared<BatchInMemory>(term.data.select(indices)), size};
}

}  // namespace

Objective Samples::draw(const Objective& from, double share, bool shuffled) const {
  if (!from.has_outputs() || share >= 1) return from;
  std::vector<BatchSource> data;
  for (const auto& term : from.terms()) {
    int64_t all = term.data.examples();
    data.push_back(chosen(term, order(all, shuffled).narrow(0, 0, share_of(all, share))));
  }
  return from.on(std::move(data));
}

Tensor Samples::order(int64_t examples, bool shuffled) const {
  return shuffled ? random_.permutation(examples) : at::arange(examples, at::kLong);
}

bool Samples::on_full_batch() const {
  return batch_.examples() == whole_.examples();
}

std::shared_ptr<Linearization> Samples::part(double share, const Needs& needs) const {
  require_between("share of the batch", share, 0, 1);
  return draw(batch_, share, on_full_batch()).linearize(needs);
}

Samples::Split Samples::split(double share, const Needs& needs) const {
  require_between("share of the batch", share, 0, 1);
  std::vector<BatchSource> part, others;
  for (const auto& term : batch_.terms()) {
    int64_t all = term.data.examples(), count = std::min(share_of(all, share), all - 1);
    if (count == 0) return {};
    Tensor indices = order(all, on_full_batch());
    part.push_back(chosen(term, indices.narrow(0, 0, count)));
    others.push_back(chosen(term, indices.narrow(0, count, std::min(count, all - count))));
  }
  if (part.empty()) return {};
  return {batch_.on(std::move(part)).linearize(needs), batch_.on(std::move(others)).linearize(needs)};
}

std::shared_ptr<Linearization> Samples::fresh(const Needs& needs) const {
  double share = static_cast<double>(batch_.examples()) / static_cast<double>(whole_.examples());
  return draw(whole_, share, true).linearize(needs);
}

}  // namespace osculant
