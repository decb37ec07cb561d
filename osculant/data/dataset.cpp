#include "osculant/data/dataset.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "osculant/base/error.h"
#include "osculant/base/random.h"

namespace osculant {
namespace {

std::string shape_of(const Tensor& t) {
  return fmt::format("[{}]", fmt::join(t.sizes(), ", "));
}

// "inputs", or "inputs.tokens" for a named one.
std::string field_of(const char* group, const std::string& name) {
  return name.empty() ? group : fmt::format("{}.{}", group, name);
}

// Throws naming the first entry that is NaN or infinite.
void require_finite(const std::string& field, const Tensor& t) {
  if (!t.is_floating_point()) return;
  auto [low, high] = at::aminmax(t);  // NaN when any entry is
  auto ends = at::stack({low, high}).to(at::kCPU, at::kDouble);
  if (std::isfinite(ends.const_data_ptr<double>()[0]) && std::isfinite(ends.const_data_ptr<double>()[1]))
    return;
  int64_t flat = at::isfinite(t).logical_not_().flatten().nonzero()[0].item<int64_t>();
  double value = t.flatten()[flat].item<double>();
  std::vector<int64_t> position(static_cast<size_t>(t.dim()));
  for (size_t d = position.size(); d-- > 0; flat /= t.size(static_cast<int64_t>(d)))
    position[d] = flat % t.size(static_cast<int64_t>(d));
  fail_data(fmt::format("{}[{}] = {}: must be finite", field, fmt::join(position, ", "), value));
}

void check_tensor(const std::string& field, const Tensor& t, int64_t examples,
                  const std::string& first_field) {
  if (!t.defined()) fail_data(field + ": the tensor is undefined");
  if (t.dim() == 0) fail_data(field + ": has no dimensions; the first must be the example");
  if (t.size(0) != examples)
    fail_data(fmt::format("{} has {} examples, {} has {}", first_field, examples, field, t.size(0)));
  if (t.numel() == 0) fail_data(fmt::format("{}: has shape {} and holds no data", field, shape_of(t)));
  require_finite(field, t);
}

void check_weights(const Tensor& weights, int64_t examples) {
  if (weights.dim() != 1 || weights.size(0) != examples)
    fail_data(fmt::format("weights has shape {}: must be [{}], one weight an example", shape_of(weights),
                          examples));
  require_finite("weights", weights);
  auto low = weights.min().item<double>();
  if (low < 0)
    fail_data(fmt::format("weights[{}] = {}: must be >= 0", weights.argmin().item<int64_t>(), low));
  if (weights.sum(at::kDouble).item<double>() == 0) fail_data("weights: all are 0");
}

void check_group(const char* group, const std::vector<NamedTensor>& tensors, const NamedTensor& first) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    auto field = field_of(group, name);
    if (!names.insert(name).second) fail_data(field + ": is given twice");
    check_tensor(field, tensor, first.tensor.size(0), field_of("inputs", first.name));
  }
}

void check_examples(const Batch& examples) {
  if (examples.inputs.empty()) fail_data("inputs: the data set has none");
  const auto& first = examples.inputs.front();
  auto field = field_of("inputs", first.name);
  if (!first.tensor.defined()) fail_data(field + ": the tensor is undefined");
  if (first.tensor.dim() == 0) fail_data(field + ": has no dimensions; the first must be the example");
  if (first.tensor.size(0) == 0)
    fail_data(fmt::format("{}: has shape {}: the data set is empty", field, shape_of(first.tensor)));
  check_group("inputs", examples.inputs, first);
  check_group("targets", examples.targets, first);
  if (examples.weights.defined()) check_weights(examples.weights, examples.size());
}

Batch to_batch(Tensor inputs, Tensor targets, Tensor weights) {
  Batch batch;
  batch.inputs.push_back({"", std::move(inputs)});
  if (targets.defined()) batch.targets.push_back({"", std::move(targets)});
  batch.weights = std::move(weights);
  return batch;
}

bool is_quantity(const Tensor& t) {
  return t.is_floating_point() || t.scalar_type() == at::kByte;
}

Tensor as_floating(const Tensor& t) {
  return t.is_floating_point() ? t : t.to(at::kFloat);
}

// The examples with f(i, input) in place of every input that holds quantities rather than indices.
template <class Function>
Batch with_inputs(const char* what, Batch examples, Function f) {
  bool any = false;
  for (size_t i = 0; i < examples.inputs.size(); ++i) {
    auto& tensor = examples.inputs[i].tensor;
    if (!is_quantity(tensor)) continue;
    tensor = f(i, as_floating(tensor));
    any = true;
  }
  if (!any) fail_usage(fmt::format("{}: no input is floating point or uint8", what));
  return examples;
}

Tensor average_pool(const Tensor& images, int64_t factor) {
  if (images.dim() != 3 && images.dim() != 4)
    fail_usage(
        fmt::format("average_pool = {}: inputs have shape {}: must be [examples, height, width] or "
                    "[examples, channels, height, width]",
                    factor, shape_of(images)));
  int64_t height = images.size(-2), width = images.size(-1);
  if (height % factor != 0 || width % factor != 0)
    fail_usage(fmt::format("average_pool = {}: must divide the images' height {} and width {}", factor,
                           height, width));
  return at::avg_pool2d(images, {factor, factor});
}

}  // namespace

BatchSource::BatchSource(std::shared_ptr<const ExampleSource> source, int64_t batch_size)
    : source_(std::move(source)) {
  if (!source_) fail_usage("BatchSource: the source is null");
  require_at_least("batch_size", static_cast<double>(batch_size), 1);
  if (source_->size() <= 0) fail_data("BatchSource: the source has no examples");
  batch_size_ = std::min(batch_size, source_->size());
}

Batch BatchSource::batch(int64_t i) const {
  if (i < 0 || i >= batches())
    fail_usage(fmt::format("batch = {}: must be between 0 and {}", i, batches() - 1));
  int64_t begin = i * batch_size_;
  return source_->range(begin, std::min(begin + batch_size_, examples()));
}

Dataset::Dataset(Tensor inputs, Tensor targets, Tensor weights)
    : Dataset(to_batch(std::move(inputs), std::move(targets), std::move(weights))) {}

Dataset::Dataset(Batch examples) : examples_(std::move(examples)) {
  check_examples(examples_);
  for (auto* group : {&examples_.inputs, &examples_.targets})
    for (auto& [name, tensor] : *group) tensor = tensor.detach();
  if (examples_.weights.defined()) examples_.weights = examples_.weights.detach();
}

BatchSource Dataset::batches(int64_t batch_size) const {
  return BatchSource(std::make_shared<Dataset>(*this), batch_size);
}

Dataset Dataset::take(int64_t count) const {
  require_between("take", static_cast<double>(count), 1, static_cast<double>(size()));
  return Dataset(range(0, count));
}

Dataset Dataset::shuffled(uint64_t seed) const {
  return Dataset(select(RandomStream(seed, "data.shuffle").permutation(size())));
}

std::pair<Dataset, Dataset> Dataset::split(double first_share) const {
  require_between("split", first_share, 0, 1);
  auto first = static_cast<int64_t>(std::llround(first_share * static_cast<double>(size())));
  if (first == 0 || first == size())
    fail_usage(fmt::format("split = {}: of {} examples it leaves one part empty", first_share, size()));
  return {Dataset(range(0, first)), Dataset(range(first, size()))};
}

Dataset Dataset::scaled(double divisor) const {
  if (!(divisor != 0) || !std::isfinite(divisor))
    fail_option("scale", fmt::format("{}", divisor), "finite and not 0");
  return Dataset(with_inputs("scale", examples_, [&](size_t, const Tensor& x) { return x / divisor; }));
}

Normalization Dataset::normalization(Statistics statistics) const {
  Normalization result;
  for (const auto& [name, tensor] : examples_.inputs) {
    result.mean.emplace_back();
    result.deviation.emplace_back();
    if (!is_quantity(tensor)) continue;
    auto x = as_floating(tensor);
    std::vector<int64_t> over{0};
    if (statistics == Statistics::whole)
      for (int64_t d = 1; d < x.dim(); ++d) over.push_back(d);
    auto [variance, mean] = at::var_mean(x, over, /*correction=*/0, /*keepdim=*/true);
    auto deviation = variance.sqrt();
    result.mean.back() = mean;
    result.deviation.back() = at::where(deviation > 0, deviation, at::ones_like(deviation));
  }
  return result;
}

Dataset Dataset::normalized(const Normalization& n) const {
  if (n.mean.size() != examples_.inputs.size() || n.deviation.size() != examples_.inputs.size())
    fail_usage(fmt::format("normalize: statistics of {} inputs, the data have {}", n.mean.size(),
                           examples_.inputs.size()));
  return Dataset(with_inputs("normalize", examples_, [&](size_t i, const Tensor& x) {
    return (x - n.mean[i].to(x.options())) / n.deviation[i].to(x.options());
  }));
}

Dataset Dataset::average_pooled(int64_t factor) const {
  require_at_least("average_pool", static_cast<double>(factor), 1);
  return Dataset(with_inputs("average_pool", examples_,
                             [&](size_t, const Tensor& x) { return average_pool(x, factor); }));
}

Dataset Dataset::flattened() const {
  Batch out = examples_;
  for (auto& [name, tensor] : out.inputs) tensor = tensor.reshape({tensor.size(0), -1});
  return Dataset(std::move(out));
}

Dataset Dataset::autoencoding() const {
  Batch out = examples_;
  out.targets = out.inputs;
  return Dataset(std::move(out));
}

Dataset Dataset::to(at::Device device, at::ScalarType dtype) const {
  return Dataset(examples_.to(device, dtype));
}

}  // namespace osculant
