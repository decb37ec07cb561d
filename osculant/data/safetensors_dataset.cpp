#include "osculant/data/safetensors_dataset.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "osculant/base/error.h"
#include "osculant/io/safetensors.h"
#include "osculant/io/torch_file.h"

namespace osculant {
namespace {

Tensor usable(const Tensor& t) {
  bool wide =
      t.scalar_type() == at::kUInt16 || t.scalar_type() == at::kUInt32 || t.scalar_type() == at::kUInt64;
  return wide ? t.to(at::kLong) : t;
}

// `name` is GROUP or GROUP.NAME: appends the tensor under NAME.
bool take(std::string_view group, const NamedTensor& entry, std::vector<NamedTensor>& into) {
  std::string_view name = entry.name;
  if (name == group) {
    into.push_back({"", usable(entry.tensor)});
    return true;
  }
  if (!name.starts_with(group) || name.size() < group.size() + 2 || name[group.size()] != '.') return false;
  into.push_back({std::string(name.substr(group.size() + 1)), usable(entry.tensor)});
  return true;
}

void check_names(const char* group, const std::vector<NamedTensor>& tensors) {
  if (tensors.size() < 2) return;
  if (tensors[0].name.empty())  // sorted by name
    fail_data(fmt::format("has both \"{0}\" and \"{0}.{1}\"; name all or have one", group, tensors[1].name));
}

Batch read_batch(const std::vector<NamedTensor>& entries) {
  Batch batch;
  std::vector<std::string> names, unknown;
  for (const auto& entry : entries) {
    names.push_back(entry.name);
    if (entry.name == "weights")
      batch.weights = entry.tensor;
    else if (!take("inputs", entry, batch.inputs) && !take("targets", entry, batch.targets))
      unknown.push_back(entry.name);
  }
  constexpr const char* kRule =
      "a data file has \"inputs\" or \"inputs.NAME\", \"targets\" or \"targets.NAME\", and \"weights\" if "
      "any";
  if (batch.inputs.empty())
    fail_data(fmt::format("has no \"inputs\"; {}. There: {}", kRule,
                          names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ", "))));
  if (!unknown.empty()) fail_data(fmt::format("has \"{}\"; {}", fmt::join(unknown, "\", \""), kRule));
  for (auto* group : {&batch.inputs, &batch.targets})
    std::sort(group->begin(), group->end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  check_names("inputs", batch.inputs);
  check_names("targets", batch.targets);
  return batch;
}

}  // namespace

Dataset load_dataset(const std::string& path) {
  auto entries = is_torch_file(path) ? load_torch_tensors(path) : load_safetensors(path).tensors;
  try {
    return Dataset(read_batch(entries));
  } catch (const Error& e) {
    fail(e.kind(), fmt::format("{}: {}", path, e.what()));
  }
}

void save_dataset(const std::string& path, const Dataset& data) {
  const auto& examples = data.examples();
  std::vector<NamedTensor> tensors;
  auto add = [&](const std::string& group, const std::vector<NamedTensor>& members) {
    for (const auto& [name, tensor] : members)
      tensors.push_back({name.empty() ? group : group + "." + name, tensor});
  };
  add("inputs", examples.inputs);
  add("targets", examples.targets);
  if (examples.weights.defined()) tensors.push_back({"weights", examples.weights});
  save_safetensors(path, tensors);
}

}  // namespace osculant
