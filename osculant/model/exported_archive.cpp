#include "osculant/model/exported_archive.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <filesystem>
#include <map>

#include "osculant/base/error.h"
#include "osculant/io/record_tensors.h"
#include "osculant/io/zip_file.h"
#include "osculant/model/exported_json.h"

namespace osculant::exported {
namespace {

constexpr const char* weights_folder = "data/weights/";
constexpr const char* constants_folder = "data/constants/";

ZipFile open_archive(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) fail_data(fmt::format("{}: no such file", path));
  try {
    return ZipFile(path);
  } catch (const Error& error) {
    std::string why = error.what();
    if (why.starts_with(path + ": ")) why = why.substr(path.size() + 2);
    fail(error.kind(), fmt::format("{}: damaged or not an exported program: {}", path, why));
  }
}

std::vector<int64_t> integers(const json& list, const std::string& where) {
  std::vector<int64_t> values;
  for (const auto& item : list) values.push_back(integer_member(item, "as_int", where));
  return values;
}

Placement placement(const json& meta, const std::string& where) {
  Placement p;
  p.dtype = scalar_type_of(integer_member(meta, "dtype", where));
  p.sizes = integers(array_member(meta, "sizes", where), where + ".sizes");
  p.strides = integers(array_member(meta, "strides", where), where + ".strides");
  p.offset = integer_member(object_member(meta, "storage_offset", where), "as_int", where);
  return p;
}

std::unordered_map<std::string, StoredTensor> read_tensors(const ZipFile& records, RecordTensors& stored,
                                                           const std::string& folder,
                                                           const std::string& config,
                                                           const std::string& path) {
  std::unordered_map<std::string, StoredTensor> tensors;
  if (!records.has(folder + config)) return tensors;
  const auto document =
      parse_json(records.text(folder + config), fmt::format("{}: {}", path, folder + config));
  for (const auto& [name, entry] : object_member(document, "config", path + ": " + config).items()) {
    const auto where = fmt::format("{}: {}", path, name);
    if (as_boolean(member(entry, "use_pickle", where), where + ".use_pickle"))
      continue;  // not a plain tensor
    const auto record = folder + string_member(entry, "path_name", where);
    const auto& meta = object_member(entry, "tensor_meta", where);
    bool trainable = as_boolean(member(entry, "is_param", where), where) &&
                     as_boolean(member(meta, "requires_grad", where), where);
    tensors[name] = {stored.tensor(record, placement(meta, where), where), trainable};
  }
  return tensors;
}

void check_kind(const ZipFile& records, const std::string& path) {
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
  const ZipFile records = open_archive(path);
  check_kind(records, path);
  if (records.has("byteorder") && records.text("byteorder") != "little")
    fail_data(fmt::format("{}: its tensors are not little-endian", path));
  Archive archive;
  archive.model_json = records.text("models/model.json");
  RecordTensors stored(records);
  archive.weights = read_tensors(records, stored, weights_folder, "model_weights_config.json", path);
  archive.constants = read_tensors(records, stored, constants_folder, "model_constants_config.json", path);
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
