#include "osculant/study/named_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "osculant/base/error.h"

namespace osculant {
namespace {

std::vector<std::string> parts_of(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (const auto& text : texts) {
    for (size_t begin = 0; begin <= text.size();) {
      size_t end = std::min(text.find(',', begin), text.size());
      std::string part = text.substr(begin, end - begin);
      part.erase(0, part.find_first_not_of(' '));
      part.erase(part.find_last_not_of(' ') + 1);
      parts.push_back(part);
      begin = end + 1;
    }
  }
  return parts;
}

OptionValue option_value(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  return text;
}

void add_option(NamedOptions& entry, const std::string& option, const std::string& origin) {
  size_t equals = option.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == option.size())
    fail_usage(fmt::format("{}: {}: \"{}\" must be OPTION=VALUE", origin, entry.name, option));
  entry.label += (entry.label == entry.name ? ":" : ",") + option;
  std::string name = option.substr(0, equals), value = option.substr(equals + 1);
  entry.options[name] = option_value(value);
  entry.texts[name] = value;
}

}  // namespace

std::vector<NamedOptions> read_named_options(const std::vector<std::string>& texts, const std::string& origin,
                                             const std::string& kind) {
  std::vector<NamedOptions> entries;
  for (const auto& part : parts_of(texts)) {
    size_t colon = part.find(':'), equals = part.find('=');
    if (equals != std::string::npos && equals < colon) {
      if (entries.empty())
        fail_usage(fmt::format("{}: \"{}\": no {} is named before it", origin, part, kind));
      add_option(entries.back(), part, origin);
      continue;
    }
    std::string name = part.substr(0, colon);
    entries.push_back({name, name, {}, {}});
    if (colon != std::string::npos) add_option(entries.back(), part.substr(colon + 1), origin);
  }
  return entries;
}

}  // namespace osculant
