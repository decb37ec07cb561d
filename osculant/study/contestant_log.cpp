#include "osculant/study/contestant_log.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "osculant/base/error.h"

namespace osculant {
namespace {

using Json = nlohmann::ordered_json;

Json to_record(const OptionMap& options) {
  Json record = Json::object();
  for (const auto& option : options)
    std::visit([&](const auto& held) { record[option.first] = held; }, option.second);
  return record;
}

Json to_record(const ContestantRecord::Point& point) {
  Json record{{"step", point.step},
              {"epochs", point.epochs},
              {"seconds", point.seconds},
              {"gradient_equivalents", point.gradient_equivalents}};
  for (const auto& [name, value] : point.values) record[name] = value;
  return record;
}

Json to_record(const ContestantRecord& c) {
  Json trajectory = Json::array();
  for (const auto& point : c.trajectory) trajectory.push_back(to_record(point));
  return {{"method", c.method},
          {"seed", c.seed},
          {"options", to_record(c.options)},
          {"status", c.status},
          {"stop", {{"reason", c.stop.reason}, {"message", c.stop.message}}},
          {"reached", c.reached ? Json(*c.reached) : Json(nullptr)},
          {"steps", c.steps},
          {"epochs", c.epochs},
          {"seconds", c.seconds},
          {"gradient_equivalents", c.gradient_equivalents},
          {"final", c.final},
          {"trajectory", trajectory}};
}

// Of 1e30 get<int64_t>() would be undefined; this throws.
int64_t whole_number_of(const Json& value) {
  return value.get_ref<const Json::number_integer_t&>();
}

double number_of(const Json& value) {
  return value.is_null() ? std::nan("") : value.get<double>();
}

OptionValue option_of(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>();
  return value.get<std::string>();
}

ContestantRecord::Point point_of(const Json& record) {
  ContestantRecord::Point point{whole_number_of(record.at("step")),
                                number_of(record.at("epochs")),
                                number_of(record.at("seconds")),
                                number_of(record.at("gradient_equivalents")),
                                {}};
  for (const auto& [name, value] : record.items())
    if (name != "step" && name != "epochs" && name != "seconds" && name != "gradient_equivalents")
      point.values[name] = number_of(value);
  return point;
}

ContestantRecord record_of(const Json& record) {
  ContestantRecord c;
  c.method = record.at("method").get<std::string>();
  c.seed = whole_number_of(record.at("seed"));
  for (const auto& [name, value] : record.at("options").items()) c.options[name] = option_of(value);
  c.status = record.at("status").get<std::string>();
  c.stop = {record.at("stop").at("reason").get<std::string>(),
            record.at("stop").at("message").get<std::string>()};
  if (!record.at("reached").is_null()) c.reached = record.at("reached").get<bool>();
  c.steps = whole_number_of(record.at("steps"));
  c.epochs = number_of(record.at("epochs"));
  c.seconds = number_of(record.at("seconds"));
  c.gradient_equivalents = number_of(record.at("gradient_equivalents"));
  for (const auto& [name, value] : record.at("final").items()) c.final[name] = number_of(value);
  for (const auto& point : record.at("trajectory")) c.trajectory.push_back(point_of(point));
  return c;
}

std::map<std::string, ContestantRecord> read(const std::string& path) {
  std::map<std::string, ContestantRecord> finished;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (in.eof()) break;  // without its newline: what a crash left of a line
    try {
      Json record = Json::parse(line);
      finished[record.at("key").get<std::string>()] = record_of(record);
    } catch (const Json::exception& error) {
      fail_data(fmt::format("{}: damaged: {}", path, error.what()));
    }
  }
  return finished;
}

}  // namespace

std::string to_json(const ContestantRecord& contestant) {
  return to_record(contestant).dump(-1, ' ', false, Json::error_handler_t::replace);
}

ContestantRecord contestant_from_json(const std::string& line) {
  try {
    return record_of(Json::parse(line));
  } catch (const Json::exception& error) {
    fail_data(fmt::format("no contestant: {}", error.what()));
  }
}

ContestantLog::ContestantLog(const std::string& path, bool resume)
    : finished_(resume ? read(path) : std::map<std::string, ContestantRecord>{}),
      file_(path, resume ? LineFile::Mode::append : LineFile::Mode::create) {}

const ContestantRecord* ContestantLog::find(const std::string& key) const {
  auto found = finished_.find(key);
  return found == finished_.end() ? nullptr : &found->second;
}

void ContestantLog::add(const std::string& key, const ContestantRecord& contestant) {
  finished_[key] = contestant;
  Json line = to_record(contestant);
  line["key"] = key;
  file_.append(line.dump(-1, ' ', false, Json::error_handler_t::replace));
  file_.sync();
}

}  // namespace osculant
