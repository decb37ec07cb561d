#include "osculant/io/archive.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <variant>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/io/safetensors.h"

namespace osculant {
namespace {

using json = nlohmann::json;
using Numbers = std::vector<double>;
using Texts = std::vector<std::string>;
using Value = std::variant<Tensor, double, int64_t, bool, std::string, Numbers, Texts>;

constexpr const char* kMetadataKey = "osculant.archive";
constexpr const char* kChecksumKey = "osculant.checksum";

// Of everything in the archive: the text, then name and bytes of each tensor in the order of the names. A
// disk that changes a bit of a weight would otherwise go unseen.
std::string checksum_of(const Archive::Parts& parts) {
  std::map<std::string, Tensor> sorted;
  for (const auto& [name, tensor] : parts.tensors) sorted.emplace(name, tensor);
  auto add = [sum = crc32_z(0, nullptr, 0)](const void* data, size_t bytes) mutable {
    return sum = bytes > 0 ? crc32_z(sum, static_cast<const Bytef*>(data), bytes) : sum;
  };
  auto sum = add(parts.text.data(), parts.text.size());
  for (const auto& [name, tensor] : sorted) {
    add(name.data(), name.size());
    auto dense = tensor.detach().resolve_conj().resolve_neg().to(at::kCPU).contiguous();
    sum = add(dense.const_data_ptr(), dense.nbytes());
  }
  return fmt::format("{:08x}", sum);
}

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;  // clang 14 does not find it

const char* type_name(const Value& value) {
  static constexpr const char* names[] = {"a tensor", "a number",          "a whole number", "a flag",
                                          "a text",   "a list of numbers", "a list of texts"};
  return names[value.index()];
}

// JSON has no NaN and no infinities: they are written as the texts "nan", "inf" and "-inf".
json number_to_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double number_from_json(const json& value) {
  if (value.is_number()) return value.get<double>();
  const auto& text = value.get_ref<const std::string&>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  throw std::invalid_argument(text);
}

// {"number": 1.5}: the type by name, since JSON's own do not tell 1 from 1.0 or a list of no numbers from no
// texts.
json to_json(const Value& value) {
  return std::visit(Overloaded{[](const Tensor&) { return json(); },
                               [](double v) {
                                 return json{{"number", number_to_json(v)}};
                               },
                               [](int64_t v) {
                                 return json{{"integer", v}};
                               },
                               [](bool v) {
                                 return json{{"flag", v}};
                               },
                               [](const std::string& v) {
                                 return json{{"text", v}};
                               },
                               [](const Numbers& v) {
                                 json list = json::array();
                                 for (double x : v) list.push_back(number_to_json(x));
                                 return json{{"numbers", std::move(list)}};
                               },
                               [](const Texts& v) {
                                 return json{{"texts", v}};
                               }},
                    value);
}

// Throws whatever nlohmann throws, or std::invalid_argument.
Value from_json(const json& entry) {
  if (!entry.is_object() || entry.size() != 1) throw std::invalid_argument("not one typed value");
  const auto& type = entry.begin().key();
  const auto& value = entry.begin().value();
  if (type == "number") return number_from_json(value);
  if (type == "integer" && value.is_number_integer()) return value.get<int64_t>();
  if (type == "flag") return value.get<bool>();
  if (type == "text") return value.get<std::string>();
  if (type == "texts") return value.get<Texts>();
  if (type != "numbers" || !value.is_array()) throw std::invalid_argument(type);
  Numbers list;
  for (const auto& x : value) list.push_back(number_from_json(x));
  return list;
}

}  // namespace

struct Archive::Contents {
  std::string source = "archive";  // the file, for messages
  std::string kind;
  int64_t version = 0;
  std::map<std::string, Value> values;
};

Archive::Archive(std::string kind, int64_t version) : contents_(std::make_shared<Contents>()) {
  contents_->kind = std::move(kind);
  contents_->version = version;
}

Archive Archive::load(const std::string& path, const std::string& kind, int64_t newest) {
  auto file = load_safetensors(path);
  auto found = file.metadata.find(kMetadataKey);
  if (found == file.metadata.end())
    fail_data(fmt::format("{}: holds tensors but is no {} (its metadata have no \"{}\")", path, kind,
                          kMetadataKey));
  Parts parts{found->second, file.tensors};
  if (auto sum = file.metadata.find(kChecksumKey);
      sum != file.metadata.end() && sum->second != checksum_of(parts))
    fail_data(fmt::format("{}: is damaged: its checksum is wrong", path));
  return from_parts(parts, path, kind, newest);
}

Archive Archive::from_parts(const Parts& parts, const std::string& path, const std::string& kind,
                            int64_t newest) {
  Archive archive(kind, 0);
  auto& contents = *archive.contents_;
  contents.source = path;
  std::string entry;
  try {
    auto header = json::parse(parts.text);
    if (header.at("kind").get<std::string>() != kind)
      fail_data(fmt::format("{}: is a {}, not a {}", path, header.at("kind").get<std::string>(), kind));
    contents.version = header.at("version").get_ref<const json::number_integer_t&>();  // 1e30 is none
    if (contents.version < 0 || contents.version > newest)
      fail_data(fmt::format("{}: is a {} of version {}; this program reads versions up to {}", path, kind,
                            contents.version, newest));
    for (const auto& [name, value] : header.at("values").items()) {
      entry = name;
      contents.values.emplace(name, from_json(value));
    }
  } catch (const json::exception&) {
    fail_data(
        fmt::format("{}: its archive metadata are damaged{}", path, entry.empty() ? "" : " at " + entry));
  } catch (const std::invalid_argument&) {
    fail_data(fmt::format("{}: entry \"{}\" is damaged", path, entry));
  }
  for (auto& [name, tensor] : parts.tensors)
    if (!contents.values.emplace(name, tensor).second)
      fail_data(fmt::format("{}: entry \"{}\" is there twice", path, name));
  return archive;
}

Archive::Parts Archive::parts() const {
  json values = json::object();
  std::vector<NamedTensor> tensors;
  for (const auto& [name, value] : contents_->values) {
    if (const auto* tensor = std::get_if<Tensor>(&value))
      tensors.push_back({name, *tensor});
    else
      values[name] = to_json(value);
  }
  json header{{"kind", contents_->kind}, {"version", contents_->version}, {"values", std::move(values)}};
  try {
    return {header.dump(), tensors};
  } catch (const json::type_error&) {
    fail_usage(fmt::format("{}: a name or text of the archive is not valid UTF-8", contents_->source));
  }
}

void Archive::save(const std::string& path) const {
  Parts parts = this->parts();
  save_safetensors(path, parts.tensors, {{kMetadataKey, parts.text}, {kChecksumKey, checksum_of(parts)}});
}

const std::string& Archive::kind() const {
  return contents_->kind;
}
int64_t Archive::version() const {
  return contents_->version;
}

template <class V>
void Archive::put_value(const std::string& name, V value) {
  if (!contents_->values.emplace(prefix_ + name, std::move(value)).second)
    fail(ErrorKind::internal, fmt::format("archive: entry \"{}{}\" is put twice", prefix_, name));
}

void Archive::put(const std::string& name, const Tensor& value) {
  if (!value.defined())
    fail(ErrorKind::internal, fmt::format("archive: tensor \"{}{}\" is undefined", prefix_, name));
  put_value(name, value.detach());
}
void Archive::put(const std::string& name, const std::string& value) {
  put_value(name, value);
}
void Archive::put(const std::string& name, const std::vector<double>& value) {
  put_value(name, value);
}
void Archive::put(const std::string& name, const std::vector<std::string>& value) {
  put_value(name, value);
}
void Archive::put_number(const std::string& name, double value) {
  put_value(name, value);
}
void Archive::put_integer(const std::string& name, int64_t value) {
  put_value(name, value);
}
void Archive::put_flag(const std::string& name, bool value) {
  put_value(name, value);
}

template <class V>
const V& Archive::get(const std::string& name, const char* what) const {
  auto found = contents_->values.find(prefix_ + name);
  if (found == contents_->values.end()) {
    auto near = nearest_word(name, names());
    fail_data(fmt::format("{}: has no entry \"{}{}\"{}", contents_->source, prefix_, name,
                          near.empty() ? "" : fmt::format("; the nearest is \"{}{}\"", prefix_, near)));
  }
  if (const auto* value = std::get_if<V>(&found->second)) return *value;
  fail_data(fmt::format("{}: entry \"{}{}\" is {}, not {}", contents_->source, prefix_, name,
                        type_name(found->second), what));
}

bool Archive::contains(const std::string& name) const {
  return contents_->values.contains(prefix_ + name);
}

Tensor Archive::tensor(const std::string& name) const {
  return get<Tensor>(name, "a tensor");
}

Tensor Archive::tensor(const std::string& name, const Tensor& like) const {
  const auto& t = get<Tensor>(name, "a tensor");
  if (t.sizes() != like.sizes() || t.scalar_type() != like.scalar_type())
    fail_data(fmt::format("{}: entry \"{}{}\" is {} [{}], not {} [{}]", contents_->source, prefix_, name,
                          c10::toString(t.scalar_type()), fmt::join(t.sizes(), ", "),
                          c10::toString(like.scalar_type()), fmt::join(like.sizes(), ", ")));
  return t.to(like.device());
}

double Archive::number(const std::string& name) const {
  return get<double>(name, "a number");
}
int64_t Archive::integer(const std::string& name) const {
  return get<int64_t>(name, "a whole number");
}
bool Archive::flag(const std::string& name) const {
  return get<bool>(name, "a flag");
}
std::string Archive::text(const std::string& name) const {
  return get<std::string>(name, "a text");
}
Numbers Archive::numbers(const std::string& name) const {
  return get<Numbers>(name, "a list of numbers");
}
Texts Archive::texts(const std::string& name) const {
  return get<Texts>(name, "a list of texts");
}

Archive Archive::scope(const std::string& prefix) const {
  Archive inner;
  inner.contents_ = contents_;
  inner.prefix_ = prefix_ + prefix + ".";
  return inner;
}

std::vector<std::string> Archive::names() const {
  std::vector<std::string> found;
  for (const auto& [name, value] : contents_->values)
    if (name.starts_with(prefix_)) found.push_back(name.substr(prefix_.size()));
  return found;
}

}  // namespace osculant
