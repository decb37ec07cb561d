#include "osculant/linop/dealt_blocks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace osculant {
namespace {

using Results = std::vector<std::vector<Tensor>>;

std::optional<Results> all_here(const DealtWork& all) {
  Results results;
  for (size_t i = 0; i < all.costs.size(); ++i) {
    auto found = all.work(i);
    if (!found) return std::nullopt;
    results.push_back(*std::move(found));
  }
  return results;
}

// A piece in a message: 1 where it was done, and then the numbers of its tensors.
int64_t numbers_of(const std::vector<Tensor>& tensors) {
  int64_t numbers = 1;
  for (const auto& tensor : tensors) numbers += tensor.numel();
  return numbers;
}

void pack(const std::optional<std::vector<Tensor>>& found, Tensor to) {
  to.zero_();
  if (!found) return;
  to[0] = 1;
  int64_t begin = 1;
  for (const auto& tensor : *found) {
    to.narrow(0, begin, tensor.numel()).view(tensor.sizes()).copy_(tensor);
    begin += tensor.numel();
  }
}

std::optional<std::vector<Tensor>> unpack(const Tensor& from, const std::vector<Tensor>& like) {
  if (from[0].item<double>() == 0) return std::nullopt;
  std::vector<Tensor> found;
  int64_t begin = 1;
  for (const auto& tensor : like) {
    found.push_back(from.narrow(0, begin, tensor.numel()).view(tensor.sizes()).clone());
    begin += tensor.numel();
  }
  return found;
}

}  // namespace

std::vector<int64_t> processes_by_cost(const std::vector<double>& costs, int64_t processes) {
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  std::vector<double> load(static_cast<size_t>(processes), 0);
  std::vector<int64_t> owner(costs.size());
  for (size_t i : order) {
    auto least = std::min_element(load.begin(), load.end());
    *least += costs[i];
    owner[i] = least - load.begin();
  }
  return owner;
}

std::optional<Results> deal(const DealtWork& all, const Communicator& processes) {
  if (processes.alone() || all.costs.empty()) return all_here(all);
  auto owner = processes_by_cost(all.costs, processes.size());
  std::vector<std::vector<Tensor>> like;
  std::vector<int64_t> sizes(static_cast<size_t>(processes.size()), 0);
  for (size_t i = 0; i < owner.size(); ++i) {
    like.push_back(all.like(i));
    sizes[static_cast<size_t>(owner[i])] += numbers_of(like[i]);
  }
  auto begins = [&] {
    std::vector<int64_t> begin(sizes.size(), 0);
    std::partial_sum(sizes.begin(), sizes.end() - 1, begin.begin() + 1);
    return begin;
  }();

  auto rank = static_cast<size_t>(processes.rank());
  Tensor mine = at::empty({sizes[rank]}, like[0][0].options());
  int64_t at = 0;
  for (size_t i = 0; i < owner.size(); ++i)
    if (owner[i] == processes.rank()) {
      int64_t numbers = numbers_of(like[i]);
      pack(all.work(i), mine.narrow(0, at, numbers));
      at += numbers;
    }
  Tensor gathered = processes.all_gather(mine, sizes);
  Results results;
  for (size_t i = 0; i < owner.size(); ++i) {
    int64_t numbers = numbers_of(like[i]);
    int64_t& begin = begins[static_cast<size_t>(owner[i])];
    auto found = unpack(gathered.narrow(0, begin, numbers), like[i]);
    if (!found) return std::nullopt;
    results.push_back(*std::move(found));
    begin += numbers;
  }
  return results;
}

}  // namespace osculant
