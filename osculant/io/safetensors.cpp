#include "osculant/io/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/io/atomic_file.h"

namespace osculant {
namespace {

using json = nlohmann::json;
static_assert(std::endian::native == std::endian::little, "safetensors are little endian");

constexpr uint64_t kLargestHeader = 100'000'000;  // as the format's own library
constexpr size_t kMostDimensions = 64;            // of libtorch's kernels

struct Dtype {
  const char* name;
  at::ScalarType type;
};
constexpr std::array<Dtype, 13> kDtypes{{{"BOOL", at::kBool},
                                         {"U8", at::kByte},
                                         {"I8", at::kChar},
                                         {"U16", at::kUInt16},
                                         {"I16", at::kShort},
                                         {"U32", at::kUInt32},
                                         {"I32", at::kInt},
                                         {"U64", at::kUInt64},
                                         {"I64", at::kLong},
                                         {"F16", at::kHalf},
                                         {"BF16", at::kBFloat16},
                                         {"F32", at::kFloat},
                                         {"F64", at::kDouble}}};

std::string dtype_names() {
  std::vector<std::string> names;
  for (const auto& d : kDtypes) names.emplace_back(d.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin, end;  // in the bytes after the header
};

// Reads one file; keeps its name for every message.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), file_(Descriptor::open_for_reading(path)) {
    struct stat info;
    if (::fstat(file_.get(), &info) != 0) bad(error_text(errno));
    size_ = static_cast<uint64_t>(info.st_size);
  }

  Safetensors read() {
    auto header = parse(read_header());
    Safetensors result;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__")
        result.metadata = read_metadata(value);
      else
        entries.push_back(read_entry(name, value));
    }
    check_layout(entries);
    for (const auto& entry : entries) result.tensors.push_back({entry.name, read_tensor(entry)});
    return result;
  }

 private:
  [[noreturn]] void bad(const std::string& what) const { fail_data(fmt::format("{}: {}", path_, what)); }
  [[noreturn]] void bad(const std::string& entry, const std::string& what) const {
    fail_data(fmt::format("{}: entry \"{}\": {}", path_, entry, what));
  }

  void read_bytes(uint64_t offset, void* data, uint64_t bytes) const {
    if (file_.read_at(static_cast<int64_t>(offset), data, bytes, path_) != bytes)
      bad("shrank while it was read");
  }

  std::string read_header() {
    if (size_ < 8)
      bad(fmt::format("is no safetensors file: has {} bytes, its header length alone takes 8", size_));
    uint64_t length = 0;
    read_bytes(0, &length, 8);
    if (length > size_ - 8)
      bad(fmt::format("is damaged or no safetensors file: its header claims {} bytes, the file has {}",
                      length, size_));
    if (length > kLargestHeader)
      bad(fmt::format("its header claims {} bytes; the format allows {}", length, kLargestHeader));
    std::string header(length, '\0');
    read_bytes(8, header.data(), length);
    data_begin_ = 8 + length;
    return header;
  }

  // nlohmann's parser keeps the last of equal keys in silence, so keys are watched as they come.
  json parse(const std::string& text) const {
    std::vector<std::set<std::string>> keys;
    auto watch = [&](int depth, json::parse_event_t event, json& value) {
      if (depth > 4) bad("its header is nested too deeply");
      if (event == json::parse_event_t::object_start) keys.emplace_back();
      if (event == json::parse_event_t::object_end) keys.pop_back();
      if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
        bad(fmt::format("its header has the name \"{}\" twice", value.get<std::string>()));
      return true;
    };
    try {
      auto header = json::parse(text, watch);
      if (!header.is_object()) bad("its header is no JSON object");
      return header;
    } catch (const json::parse_error& e) {
      bad(fmt::format("its header is not valid JSON at byte {}", e.byte));
    }
  }

  std::map<std::string, std::string> read_metadata(const json& value) const {
    if (!value.is_object()) bad("__metadata__", "must be an object of texts");
    std::map<std::string, std::string> metadata;
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) bad("__metadata__", fmt::format("\"{}\" must be a text", key));
      metadata[key] = text.get<std::string>();
    }
    return metadata;
  }

  Entry read_entry(const std::string& name, const json& value) const {
    if (!value.is_object()) bad(name, "must be an object");
    for (const char* field : {"dtype", "shape", "data_offsets"})
      if (!value.contains(field)) bad(name, fmt::format("has no \"{}\"", field));
    Entry entry{name, read_dtype(name, value["dtype"]), read_shape(name, value["shape"]), 0, 0};
    const auto& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      bad(name, "data_offsets must be two whole numbers");
    entry.begin = offsets[0].get<uint64_t>();
    entry.end = offsets[1].get<uint64_t>();
    check_extent(entry);
    return entry;
  }

  at::ScalarType read_dtype(const std::string& name, const json& value) const {
    if (value.is_string())
      for (const auto& d : kDtypes)
        if (value.get_ref<const std::string&>() == d.name) return d.type;
    bad(name, fmt::format("dtype {} is not one of {}",
                          value.dump(-1, ' ', true, json::error_handler_t::replace), dtype_names()));
  }

  std::vector<int64_t> read_shape(const std::string& name, const json& value) const {
    if (!value.is_array()) bad(name, "shape must be an array");
    if (value.size() > kMostDimensions)
      bad(name, fmt::format("shape has {} dimensions, at most {} can be", value.size(), kMostDimensions));
    std::vector<int64_t> shape;
    for (const auto& d : value) {
      if (!d.is_number_unsigned() || d.get<uint64_t>() > std::numeric_limits<int64_t>::max())
        bad(name, fmt::format("shape {}: must hold whole numbers >= 0", value.dump()));
      shape.push_back(d.get<int64_t>());
    }
    return shape;
  }

  // begin <= end <= bytes there are, end - begin = product of the shape times the size of an entry.
  void check_extent(const Entry& e) const {
    uint64_t data = size_ - data_begin_;
    if (e.begin > e.end || e.end > data)
      bad(e.name,
          fmt::format("data_offsets [{}, {}] lie outside the file's {} bytes of data", e.begin, e.end, data));
    uint64_t bytes = c10::elementSize(e.type);
    bool overflow = false, empty = false;
    for (int64_t d : e.shape) {  // an empty tensor has strides too, which must not overflow either
      overflow |= __builtin_mul_overflow(bytes, static_cast<uint64_t>(std::max<int64_t>(d, 1)), &bytes);
      empty |= d == 0;
    }
    if (overflow) bad(e.name, fmt::format("shape [{}] overflows", fmt::join(e.shape, ", ")));
    if (empty) bytes = 0;
    if (bytes != e.end - e.begin)
      bad(e.name, fmt::format("shape [{}] of {} takes {} bytes, data_offsets [{}, {}] give {}",
                              fmt::join(e.shape, ", "), c10::toString(e.type), bytes, e.begin, e.end,
                              e.end - e.begin));
  }

  // Sorts by position and checks that the entries cover the data without holes or overlaps.
  void check_layout(std::vector<Entry>& entries) const {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    uint64_t at = 0;
    for (const auto& e : entries) {
      if (e.begin != at)
        bad(e.name, fmt::format("its data begin at {}, {} the previous entry's end at {}", e.begin,
                                e.begin < at ? "overlapping" : "leaving a hole after", at));
      at = e.end;
    }
    if (at != size_ - data_begin_)
      bad(fmt::format("has {} bytes of data, its entries cover {}", size_ - data_begin_, at));
  }

  Tensor read_tensor(const Entry& entry) const {
    auto tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
    uint64_t bytes = entry.end - entry.begin;
    if (bytes > 0) read_bytes(data_begin_ + entry.begin, tensor.data_ptr(), bytes);
    if (entry.type == at::kBool) {
      const auto* byte = static_cast<const unsigned char*>(tensor.data_ptr());
      auto wrong = std::find_if(byte, byte + bytes, [](unsigned char b) { return b > 1; });
      if (wrong != byte + bytes)
        bad(entry.name, fmt::format("element {} is {}, a bool must be 0 or 1", wrong - byte, *wrong));
    }
    return tensor;
  }

  std::string path_;
  Descriptor file_;
  uint64_t size_ = 0;
  uint64_t data_begin_ = 0;
};

const char* name_of(const NamedTensor& entry) {
  for (const auto& d : kDtypes)
    if (d.type == entry.tensor.scalar_type()) return d.name;
  fail_usage(fmt::format("safetensors: tensor \"{}\" is {}; the format has {}", entry.name,
                         c10::toString(entry.tensor.scalar_type()), dtype_names()));
}

void check_entries(const std::vector<NamedTensor>& tensors) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) fail_usage(fmt::format("safetensors: tensor \"{}\" is undefined", name));
    if (tensor.layout() != at::kStrided)
      fail_usage(fmt::format("safetensors: tensor \"{}\" is not dense", name));
    if (name == "__metadata__" || !names.insert(name).second)
      fail_usage(fmt::format("safetensors: the name \"{}\" is {}", name,
                             name == "__metadata__" ? "reserved" : "given twice"));
  }
}

std::string header_of(const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& entry : tensors) {
    uint64_t end = offset + entry.tensor.nbytes();
    header[entry.name] = {
        {"dtype", name_of(entry)}, {"shape", entry.tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  try {
    auto text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    return text;
  } catch (const json::type_error&) {
    fail_usage("safetensors: a name or metadata text is not valid UTF-8");
  }
}

}  // namespace

bool Safetensors::contains(const std::string& name) const {
  return std::any_of(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
}

const Tensor& Safetensors::tensor(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& entry : tensors) {
    if (entry.name == name) return entry.tensor;
    names.push_back(entry.name);
  }
  auto near = nearest_word(name, names);
  fail_data(fmt::format("there is no tensor \"{}\"{}", name,
                        near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
}

Safetensors load_safetensors(const std::string& path) {
  return Reader(path).read();
}

void save_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  check_entries(tensors);
  auto ordered = tensors;  // large elements first: then every tensor is aligned in the file
  std::stable_sort(ordered.begin(), ordered.end(), [](const NamedTensor& a, const NamedTensor& b) {
    return a.tensor.element_size() > b.tensor.element_size();
  });
  auto header = header_of(ordered, metadata);
  AtomicFile file(path);
  uint64_t length = header.size();
  file.write(&length, 8);
  file.write(header);
  for (const auto& [name, tensor] : ordered) {
    auto dense = tensor.detach().resolve_conj().resolve_neg().to(at::kCPU).contiguous();
    file.write(dense.data_ptr(), dense.nbytes());
  }
  file.commit();
}

}  // namespace osculant
