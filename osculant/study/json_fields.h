#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace osculant {

using Json = nlohmann::ordered_json;

// A record tells its fields once, for writing and for reading, by
//
//   template <class Fields>
//   void visit(Fields& fields, TraceRecord& r) {
//     fields("value", r.value);
//     fields("low", r.low);
//   }
//
// found by argument-dependent lookup. Fields are numbers, texts, flags, records, lists of these, and lists of
// (name, record), which become objects. A number that is not finite is null and comes back as NaN; an empty
// optional is null where it holds a number and absent where it holds a record.
class JsonWriter;
class JsonReader;

template <class T>
concept VisitedRecord = requires(JsonWriter& fields, T& record) {
  visit(fields, record);
};

class JsonWriter {
 public:
  static constexpr bool reads = false;
  template <class T>
  void operator()(const char* name, T& value) {
    object_[name] = json_of(value);
  }
  template <class T>
  void operator()(const char* name, std::optional<T>& value) {
    if (value)
      object_[name] = json_of(*value);
    else if (!VisitedRecord<T>)
      object_[name] = nullptr;
  }

  template <class T>
  static Json json_of(T& value) {
    if constexpr (VisitedRecord<T>) {
      JsonWriter fields;
      visit(fields, value);
      return std::move(fields.object_);
    } else {
      return value;
    }
  }
  template <class T>
  static Json json_of(std::vector<T>& list) {
    Json array = Json::array();
    for (auto& value : list) array.push_back(json_of(value));
    return array;
  }
  template <class T>
  static Json json_of(std::vector<std::pair<std::string, T>>& list) {
    Json object = Json::object();
    for (auto& [name, value] : list) object[name] = json_of(value);
    return object;
  }

 private:
  Json object_ = Json::object();
};

class JsonReader {
 public:
  static constexpr bool reads = true;
  explicit JsonReader(const Json& object) : object_(object) {}

  template <class T>
  void operator()(const char* name, T& value) {
    if (auto found = object_.find(name); found != object_.end()) read(*found, value);
  }
  template <class T>
  void operator()(const char* name, std::optional<T>& value) {
    auto found = object_.find(name);
    if (found != object_.end() && !found->is_null()) read(*found, *(value = T{}));
  }

  template <class T>
  static void read(const Json& json, T& value) {
    if constexpr (VisitedRecord<T>) {
      JsonReader fields(json);
      visit(fields, value);
    } else if constexpr (std::is_floating_point_v<T>) {
      value = json.is_null() ? std::nan("") : json.get<T>();
    } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      value = static_cast<T>(json.get_ref<const Json::number_integer_t&>());  // 1e30 is none
    } else {
      value = json.get<T>();
    }
  }
  template <class T>
  static void read(const Json& array, std::vector<T>& list) {
    list.clear();
    for (const auto& json : array) {
      T value{};
      read(json, value);
      list.push_back(std::move(value));
    }
  }
  template <class T>
  static void read(const Json& object, std::vector<std::pair<std::string, T>>& list) {
    list.clear();
    for (const auto& [name, json] : object.items()) {
      T value{};
      read(json, value);
      list.emplace_back(name, std::move(value));
    }
  }

 private:
  const Json& object_;
};

// The writer only reads what it visits.
template <VisitedRecord T>
Json json_from(const T& record) {
  return JsonWriter::json_of(const_cast<T&>(record));
}

// Throws nlohmann's exceptions where the types are others.
template <VisitedRecord T>
T record_from(const Json& json) {
  T record{};
  JsonReader::read(json, record);
  return record;
}

}  // namespace osculant
