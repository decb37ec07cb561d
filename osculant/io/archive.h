#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "osculant/tensor/batch.h"

namespace osculant {

// Named tensors, numbers, texts and lists in one file: what a checkpoint is made of. The file is a
// safetensors file whose metadata hold everything that is no tensor.
//
//   Archive archive("osculant checkpoint", 1);
//   archive.put("step", step);
//   auto direction = archive.scope("direction");   // names in it become "direction.NAME"
//   direction.put("momentum", m);
//   archive.save("run/checkpoints/step-100.safetensors");
//
//   auto archive = Archive::load(path, "osculant checkpoint", 1);
//   step = archive.integer("step");
//   m = archive.scope("direction").tensor("momentum", m);   // checked against m's shape and dtype, on m's
//   device
//
// A handle: a scope shares the contents of the archive it was taken from. Putting a name twice is
// Error(internal); reading one that is absent, or of another type, is Error(data) naming entry and file.
class Archive {
 public:
  // `kind` and `version` say what the contents mean.
  Archive(std::string kind, int64_t version);

  // Throws Error(data) when the file is damaged, no archive, of another kind or of a version above `newest`.
  static Archive load(const std::string& path, const std::string& kind, int64_t newest);
  void save(const std::string& path) const;  // atomically; Error(write)

  // The same in two parts, for containers of another format: everything that is no tensor as one text, and
  // the tensors. `source` names the container in messages.
  struct Parts {
    std::string text;
    std::vector<NamedTensor> tensors;
  };
  Parts parts() const;
  static Archive from_parts(const Parts& parts, const std::string& source, const std::string& kind,
                            int64_t newest);

  const std::string& kind() const;
  int64_t version() const;  // of the file that was loaded

  // Tensors are kept, not copied: save before they change, or put a clone.
  void put(const std::string& name, const Tensor& value);
  void put(const std::string& name, const std::string& value);
  void put(const std::string& name, const char* value) { put(name, std::string(value)); }
  void put(const std::string& name, const std::vector<double>& value);
  void put(const std::string& name, const std::vector<std::string>& value);
  template <std::floating_point Value>
  void put(const std::string& name, Value value) {
    put_number(name, static_cast<double>(value));
  }
  // Unsigned 64-bit numbers keep their bits: static_cast<uint64_t>(integer(name)) gives them back.
  template <std::integral Value>
  void put(const std::string& name, Value value) {
    if constexpr (std::same_as<Value, bool>)
      put_flag(name, value);
    else
      put_integer(name, static_cast<int64_t>(value));
  }

  bool contains(const std::string& name) const;
  Tensor tensor(const std::string& name) const;  // on the CPU
  // The same, of the shape and dtype of `like` or refused, on its device.
  Tensor tensor(const std::string& name, const Tensor& like) const;
  double number(const std::string& name) const;  // bit for bit what was put, NaN and infinities included
  int64_t integer(const std::string& name) const;
  bool flag(const std::string& name) const;
  std::string text(const std::string& name) const;
  std::vector<double> numbers(const std::string& name) const;
  std::vector<std::string> texts(const std::string& name) const;

  Archive scope(const std::string& prefix) const;
  std::vector<std::string> names() const;  // within this scope, without its prefix, sorted

 private:
  struct Contents;
  Archive() = default;
  void put_number(const std::string& name, double value);
  void put_integer(const std::string& name, int64_t value);
  void put_flag(const std::string& name, bool value);
  template <class Value>
  void put_value(const std::string& name, Value value);
  template <class Value>
  const Value& get(const std::string& name, const char* what) const;

  std::shared_ptr<Contents> contents_;
  std::string prefix_;  // "" or "direction."
};

}  // namespace osculant
