#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "osculant/comm/communicator.h"

namespace osculant {

using at::Tensor;

// Independent pieces of work, dealt to processes: each is done by one of them, and what comes of it, tensors
// of one dtype, is gathered in one message (Osawa et al. 2019; Pauloski et al. 2020, 2021: inverses of
// Kronecker factors).
struct DealtWork {
  std::vector<double> costs;
  // What comes of each, by its shape alone.
  std::function<std::vector<Tensor>(size_t)> like;
  // Nothing where it fails.
  std::function<std::optional<std::vector<Tensor>>(size_t)> work;
};

// The results of all of them, on every process; nothing where one fails, wherever that was.
std::optional<std::vector<std::vector<Tensor>>> deal(const DealtWork& all, const Communicator& processes);

// Who does what: the dearest first, each to whom has least to do so far (longest processing time first,
// Graham 1969: at most 4/3 of the best there is).
std::vector<int64_t> processes_by_cost(const std::vector<double>& costs, int64_t processes);

}  // namespace osculant
