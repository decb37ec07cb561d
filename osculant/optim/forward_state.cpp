#include "osculant/optim/forward_state.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <mutex>

namespace osculant {

namespace {

bool any_training(const Objective& objective) {
  const auto& terms = objective.terms();
  return std::any_of(terms.begin(), terms.end(), [](const Term& t) { return t.model.training(); });
}

at::Generator default_generator(const Objective& objective) {
  return at::globalContext().defaultGenerator(objective.layout().device());
}

}  // namespace

ForwardState::ForwardState(const Objective& objective) : objective_(objective) {
  for (const auto& term : objective.terms()) {
    for (const auto& buffer : term.model.buffers()) {
      bool seen = std::any_of(buffers_.begin(), buffers_.end(),
                              [&](const Tensor& b) { return b.is_same(buffer.tensor); });
      if (!seen) buffers_.push_back(buffer.tensor);
    }
  }
}

ForwardState::Snapshot ForwardState::snapshot() const {
  Snapshot s;
  if (!any_training(objective_)) return s;
  for (const auto& buffer : buffers_) s.buffers.push_back(buffer.detach().clone());
  auto generator = default_generator(objective_);
  std::lock_guard lock(generator.mutex());
  s.generator = generator.get_state();
  return s;
}

bool ForwardState::Snapshot::operator==(const Snapshot& other) const {
  if (generator.defined() != other.generator.defined()) return false;
  if (generator.defined() && !generator.equal(other.generator)) return false;
  return std::equal(buffers.begin(), buffers.end(), other.buffers.begin(), other.buffers.end(),
                    [](const Tensor& a, const Tensor& b) { return a.equal(b); });
}

// Past autograd's count of versions: a graph that is kept for products has running statistics among its saved
// tensors, and where they were updated its derivatives do not depend on them.
void ForwardState::restore(const Snapshot& snapshot) const {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < snapshot.buffers.size(); ++i) buffers_[i].variable_data().copy_(snapshot.buffers[i]);
  restore_generator(snapshot);
}

void ForwardState::restore_generator(const Snapshot& snapshot) const {
  if (!snapshot.generator.defined()) return;
  auto generator = default_generator(objective_);
  std::lock_guard lock(generator.mutex());
  generator.set_state(snapshot.generator);
}

ForwardState::EvaluationMode::EvaluationMode(const Objective& objective) {
  for (const auto& term : objective.terms()) {
    if (!term.model.training()) continue;
    trained_.push_back(term.model);
    term.model.train(false);
  }
}

ForwardState::EvaluationMode::~EvaluationMode() {
  for (const auto& model : trained_) model.train(true);
}

}  // namespace osculant
