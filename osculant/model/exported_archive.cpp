#include "osculant/model/exported_archive.h"

#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <filesystem>
#include <map>
#include <optional>

#include "osculant/base/error.h"
#include "osculant/model/exported_json.h"

namespace osculant::exported {
namespace {

using Reader = caffe2::serialize::PyTorchStreamReader;

// Strides of 0 repeat entries, so that a small record can stand for a large tensor; this many entries at
// most.
constexpr int64_t most_expanded = int64_t{1} << 22;

constexpr const char* weights_folder = "data/weights/";
constexpr const char* constants_folder = "data/constants/";

// A record of the archive, read only when the file is large enough to hold what the record claims to be.
class Records {
 public:
  explicit Records(const std::string& path) : path_(path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) fail_data(fmt::format("{}: no such file", path));
    file_size_ = std::filesystem::file_size(path, error);
    guard("", [&] { reader_ = std::make_unique<Reader>(path); });
  }

  bool has(const std::string& name) { return reader_->hasRecord(name); }

  size_t size(const std::string& name) {
    size_t size = 0;
    guard(name, [&] { size = reader_->getRecordSize(name); });
    if (size > file_size_)
      fail_data(fmt::format("{}: record {} claims {} bytes, but the whole file has {}", path_, name, size,
                            file_size_));
    return size;
  }

  std::string text(const std::string& name) {
    std::string text(size(name), '\0');
    guard(name, [&] { reader_->getRecord(name, text.data(), text.size()); });
    return text;
  }

  Tensor bytes(const std::string& name) {
    auto bytes = at::empty({static_cast<int64_t>(size(name))}, at::kByte);
    guard(name, [&] { reader_->getRecord(name, bytes.data_ptr(), bytes.nbytes()); });
    return bytes;
  }

 private:
  template <class Function>
  void guard(const std::string& name, Function f) {
    try {
      f();
    } catch (const c10::Error& error) {
      std::string first_line = error.what_without_backtrace();
      first_line = first_line.substr(0, first_line.find('\n'));
      fail_data(fmt::format("{}: damaged or not an exported program{}: {}", path_,
                            name.empty() ? "" : fmt::format(" (record {})", name), first_line));
    }
  }

  std::string path_;
  uintmax_t file_size_ = 0;
  std::unique_ptr<Reader> reader_;
};

// Where a tensor lies in its record, in elements.
struct Placement {
  std::vector<int64_t> sizes, strides;
  int64_t offset = 0;
  at::ScalarType dtype = at::kFloat;
  bool operator<(const Placement& other) const {
    return std::tie(sizes, strides, offset, dtype) <
           std::tie(other.sizes, other.strides, other.offset, other.dtype);
  }
};

std::vector<int64_t> integers(const json& list, const std::string& where) {
  std::vector<int64_t> values;
  for (const auto& item : list) {
    auto value = integer_member(item, "as_int", where);
    if (value < 0) fail_data(fmt::format("{}: {} is negative", where, value));
    values.push_back(value);
  }
  return values;
}

Placement placement(const json& meta, const std::string& where) {
  Placement p;
  p.dtype = scalar_type_of(integer_member(meta, "dtype", where));
  p.sizes = integers(array_member(meta, "sizes", where), where + ".sizes");
  p.strides = integers(array_member(meta, "strides", where), where + ".strides");
  p.offset = integer_member(object_member(meta, "storage_offset", where), "as_int", where);
  if (p.strides.size() != p.sizes.size())
    fail_data(fmt::format("{}: {} sizes but {} strides", where, p.sizes.size(), p.strides.size()));
  if (p.offset < 0) fail_data(fmt::format("{}: storage_offset {} is negative", where, p.offset));
  return p;
}

// Elements of storage that the placement reaches: offset + sum (size - 1) stride + 1. nullopt on overflow.
std::optional<int64_t> extent(const Placement& p) {
  int64_t last = p.offset;
  for (size_t d = 0; d < p.sizes.size(); ++d) {
    if (p.sizes[d] == 0) return p.offset;
    int64_t reach = 0;
    if (__builtin_mul_overflow(p.sizes[d] - 1, p.strides[d], &reach) ||
        __builtin_add_overflow(last, reach, &last))
      return std::nullopt;
  }
  int64_t extent = 0;
  return __builtin_add_overflow(last, 1, &extent) ? std::nullopt : std::optional(extent);
}

// Number of entries; nullopt on overflow.
std::optional<int64_t> entries(const Placement& p) {
  int64_t n = 1;
  for (int64_t size : p.sizes)
    if (__builtin_mul_overflow(n, size, &n)) return std::nullopt;
  return n;
}

Tensor read_tensor(Records& records, const std::string& record, const Placement& p,
                   const std::string& where) {
  auto available = static_cast<int64_t>(records.size(record) / c10::elementSize(p.dtype));
  auto needed = extent(p), count = entries(p);
  if (!needed || !count || *needed > available || *count > std::max(available, most_expanded))
    fail_data(fmt::format(
        "{}: sizes [{}], strides [{}] and offset {} reach beyond the {} elements of its record {}", where,
        fmt::join(p.sizes, ", "), fmt::join(p.strides, ", "), p.offset, available, record));
  if (available == 0) return at::empty(p.sizes, p.dtype);
  auto whole = records.bytes(record)
                   .narrow(0, 0, available * static_cast<int64_t>(c10::elementSize(p.dtype)))
                   .view(p.dtype);
  return whole.as_strided(p.sizes, p.strides, p.offset).clone(at::MemoryFormat::Contiguous);
}

using Shared = std::map<std::pair<std::string, Placement>, Tensor>;

std::unordered_map<std::string, StoredTensor> read_tensors(Records& records, const std::string& folder,
                                                           const std::string& config,
                                                           const std::string& path) {
  std::unordered_map<std::string, StoredTensor> tensors;
  if (!records.has(folder + config)) return tensors;
  const auto document =
      parse_json(records.text(folder + config), fmt::format("{}: {}", path, folder + config));
  Shared shared;
  for (const auto& [name, entry] : object_member(document, "config", path + ": " + config).items()) {
    const auto where = fmt::format("{}: {}", path, name);
    if (as_boolean(member(entry, "use_pickle", where), where + ".use_pickle"))
      continue;  // not a plain tensor
    const auto record = folder + string_member(entry, "path_name", where);
    if (!records.has(record)) fail_data(fmt::format("{}: its record {} is missing", where, record));
    const auto& meta = object_member(entry, "tensor_meta", where);
    const auto p = placement(meta, where);
    auto [at, fresh] = shared.try_emplace({record, p});
    if (fresh) at->second = read_tensor(records, record, p, where);
    bool trainable = as_boolean(member(entry, "is_param", where), where) &&
                     as_boolean(member(meta, "requires_grad", where), where);
    tensors[name] = {at->second, trainable};
  }
  return tensors;
}

void check_kind(Records& records, const std::string& path) {
  if (records.has("models/model.json")) return;
  if (records.has("serialized_exported_program.json"))
    fail_data(
        fmt::format("{}: an exported program in an older format; save it again with torch.export.save of "
                    "torch 2.9 or newer",
                    path));
  fail_data(
      fmt::format("{}: a zip archive, but not an exported program (no models/model.json): export the model "
                  "with torch.export.export and torch.export.save",
                  path));
}

}  // namespace

Archive read_archive(const std::string& path) {
  Records records(path);
  check_kind(records, path);
  if (records.has("byteorder") && records.text("byteorder") != "little")
    fail_data(fmt::format("{}: its tensors are not little-endian", path));
  Archive archive;
  archive.model_json = records.text("models/model.json");
  archive.weights = read_tensors(records, weights_folder, "model_weights_config.json", path);
  archive.constants = read_tensors(records, constants_folder, "model_constants_config.json", path);
  return archive;
}

at::ScalarType scalar_type_of(int64_t code) {
  // torch/_export/serde/schema.py, class ScalarType
  static const std::map<int64_t, at::ScalarType> types{
      {1, at::kByte},        {2, at::kChar},          {3, at::kShort},          {4, at::kInt},
      {5, at::kLong},        {6, at::kHalf},          {7, at::kFloat},          {8, at::kDouble},
      {9, at::kComplexHalf}, {10, at::kComplexFloat}, {11, at::kComplexDouble}, {12, at::kBool},
      {13, at::kBFloat16},   {28, at::kUInt16},       {34, at::kUInt32},        {35, at::kUInt64}};
  auto at = types.find(code);
  if (at == types.end()) fail_data(fmt::format("scalar type {}: not one that can be read", code));
  return at->second;
}

}  // namespace osculant::exported
