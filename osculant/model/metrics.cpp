#include "osculant/model/metrics.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

// Per-entry values [N, ...] to one a example, [N], in float64.
Tensor per_example(const Tensor& entries) {
  Tensor flat = entries.reshape({entries.size(0), -1});
  return flat.sum(1, false, at::kDouble);
}

Tensor weighted_sum(const Tensor& values, const Batch& batch) {
  return batch.weights.defined() ? (values * batch.weights.to(values)).sum() : values.sum();
}

std::pair<Tensor, Tensor> share_right(const Tensor& right, const Batch& batch) {
  Tensor count =
      at::full({right.size(0)}, static_cast<double>(right.numel() / std::max<int64_t>(right.size(0), 1)),
               right.options().dtype(at::kDouble));
  return {weighted_sum(per_example(right), batch), weighted_sum(count, batch)};
}

std::pair<Tensor, Tensor> class_accuracy(const OutputMetric::Outputs& outputs, const Batch& batch) {
  const Tensor& scores = outputs.at(0);
  const Tensor& target = batch.targets.at(0).tensor;
  Tensor truth = target.is_floating_point() ? target.argmax(1) : target;  // probabilities or class indices
  return share_right(scores.argmax(1).eq(truth), batch);
}

std::pair<Tensor, Tensor> binary_accuracy(const OutputMetric::Outputs& outputs, const Batch& batch) {
  return share_right(outputs.at(0).gt(0).eq(batch.targets.at(0).tensor.gt(0.5)), batch);
}

// What the outputs say about the targets' values.
Tensor prediction(const Tensor& output, const std::string& loss) {
  if (loss == "binary_cross_entropy") return output.sigmoid();
  if (loss == "poisson") return output.exp();
  return output;
}

Tensor squared_errors(const OutputMetric::Outputs& outputs, const Batch& batch, const std::string& loss) {
  Tensor total;
  for (size_t i = 0; i < outputs.size() && i < batch.targets.size(); ++i) {
    const Tensor& target = batch.targets[i].tensor;
    Tensor error = per_example((prediction(outputs[i], loss) - target.to(outputs[i])).square());
    total = total.defined() ? total + error : error;
  }
  return total;
}

OutputMetric accuracy(const std::string& loss) {
  if (loss == "cross_entropy") return {"accuracy", true, class_accuracy};
  if (loss == "binary_cross_entropy") return {"accuracy", true, binary_accuracy};
  fail_usage(
      fmt::format("metric accuracy: has no meaning for the loss {}; it needs cross_entropy or "
                  "binary_cross_entropy",
                  loss));
}

OutputMetric squared_error(const std::string& loss) {
  auto parts = [loss](const OutputMetric::Outputs& outputs, const Batch& batch) {
    Tensor errors = squared_errors(outputs, batch, loss);
    return std::pair(weighted_sum(errors, batch), weighted_sum(at::ones_like(errors), batch));
  };
  return {"squared_error", false, parts};
}

OutputMetric relative_l2(const std::string& loss) {
  auto parts = [loss](const OutputMetric::Outputs& outputs, const Batch& batch) {
    Tensor errors = squared_errors(outputs, batch, loss);
    Tensor norms = at::zeros_like(errors);
    for (size_t i = 0; i < outputs.size() && i < batch.targets.size(); ++i)
      norms = norms + per_example(batch.targets[i].tensor.to(outputs[i]).square());
    return std::pair(weighted_sum(errors, batch), weighted_sum(norms, batch));
  };
  return {"relative_l2", false, parts, [](double ratio) { return std::sqrt(ratio); }};
}

}  // namespace

std::vector<std::string> metric_names() {
  return {"accuracy", "squared_error", "relative_l2"};
}

OutputMetric find_metric(const std::string& name, const std::string& loss) {
  if (name == "accuracy") return accuracy(loss);
  if (name != "squared_error" && name != "relative_l2")
    fail_usage(fmt::format("metric \"{}\": must be one of {}", name, fmt::join(metric_names(), ", ")));
  if (loss == "cross_entropy")
    fail_usage(fmt::format(
        "metric {}: has no meaning for the loss cross_entropy; it needs targets that are values", name));
  return name == "squared_error" ? squared_error(loss) : relative_l2(loss);
}

}  // namespace osculant
