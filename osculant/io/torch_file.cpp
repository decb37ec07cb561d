#include "osculant/io/torch_file.h"

#include <ATen/core/Dict.h>
#include <fmt/format.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <fstream>
#include <iterator>

#include "osculant/base/error.h"

namespace osculant {
namespace {

std::vector<char> bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail_data(fmt::format("{}: cannot be read", path));
  return {std::istreambuf_iterator<char>(in), {}};
}

c10::IValue unpickled(const std::string& path) {
  try {
    return torch::jit::pickle_load(bytes_of(path));
  } catch (const c10::Error& error) {
    std::string message = error.what_without_backtrace();
    fail_data(fmt::format("{}: is no dict of tensors that torch.save wrote: {}", path,
                          message.substr(0, message.find('\n'))));
  } catch (const std::exception& error) {
    fail_data(fmt::format("{}: is no dict of tensors that torch.save wrote: {}", path, error.what()));
  }
}

}  // namespace

bool is_torch_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[2] = {};
  in.read(magic, 2);
  return in && magic[0] == 'P' && magic[1] == 'K';
}

std::vector<NamedTensor> load_torch_tensors(const std::string& path) {
  c10::IValue value = unpickled(path);
  if (!value.isGenericDict())
    fail_data(fmt::format("{}: holds a {}, expected a dict of tensors", path, value.tagKind()));
  std::vector<NamedTensor> tensors;
  for (const auto& entry : value.toGenericDict()) {
    if (!entry.key().isString())
      fail_data(fmt::format("{}: a key of its dict is a {}, expected a text", path, entry.key().tagKind()));
    const std::string& name = entry.key().toStringRef();
    if (!entry.value().isTensor())
      fail_data(fmt::format("{}: \"{}\" is a {}, expected a tensor", path, name, entry.value().tagKind()));
    tensors.push_back({name, entry.value().toTensor().detach().cpu().contiguous()});
  }
  return tensors;
}

}  // namespace osculant
