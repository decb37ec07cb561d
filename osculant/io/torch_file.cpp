#include "osculant/io/torch_file.h"

#include <fmt/format.h>

#include <fstream>
#include <set>

#include "osculant/base/error.h"
#include "osculant/io/record_tensors.h"
#include "osculant/io/torch_pickle.h"
#include "osculant/io/zip_file.h"

namespace osculant {

bool is_torch_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[2] = {};
  in.read(magic, 2);
  return in && magic[0] == 'P' && magic[1] == 'K';
}

namespace {

ZipFile open_archive(const std::string& path) {
  try {
    return ZipFile(path);
  } catch (const Error& error) {
    std::string why = error.what();
    if (why.starts_with(path + ": ")) why = why.substr(path.size() + 2);
    fail(error.kind(), fmt::format("{}: is no dict of tensors that torch.save wrote: {}", path, why));
  }
}

}  // namespace

std::vector<NamedTensor> load_torch_tensors(const std::string& path) {
  const ZipFile archive = open_archive(path);
  if (!archive.has("data.pkl"))
    fail_data(
        fmt::format("{}: is no dict of tensors that torch.save wrote: it has no record \"data.pkl\"", path));
  if (archive.has("byteorder") && archive.text("byteorder") != "little")
    fail_data(fmt::format("{}: its tensors are not little-endian", path));
  RecordTensors records(archive);
  std::vector<NamedTensor> tensors;
  std::set<std::string> names;
  for (const auto& entry : parse_pickled_tensors(archive.text("data.pkl"), path)) {
    auto where = fmt::format("{}: \"{}\"", path, entry.name);
    if (!names.insert(entry.name).second) fail_data(where + " is there twice");
    tensors.push_back({entry.name, records.tensor(entry.record, entry.placement, where)});
  }
  return tensors;
}

}  // namespace osculant
