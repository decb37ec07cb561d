#include "osculant/data/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

std::string text_of(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    fail_data(fmt::format("{}: is a folder; expected a table", path));
  std::ifstream in(path, std::ios::binary);
  if (!in) fail_data(fmt::format("{}: cannot be read", path));
  std::string text{std::istreambuf_iterator<char>(in), {}};
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  return text.starts_with(byte_order_mark) ? text.substr(byte_order_mark.size()) : text;
}

// The records of a file, one after the other.
class Records {
 public:
  Records(const std::string& path, std::string_view text) : path_(path), text_(text) {}

  int64_t line() const { return line_; }  // on which the last record began

  // False at the end. Lines with nothing on them are passed over.
  bool next(std::vector<std::string>& fields) {
    while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r')) take_line_end();
    if (at_ >= text_.size()) return false;
    line_ = lines_;
    fields.clear();
    do {
      fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted() : plain());
    } while (comma());
    if (at_ < text_.size()) take_line_end();
    return true;
  }

 private:
  void take_line_end() {
    if (text_[at_] == '\r') ++at_;
    if (at_ < text_.size() && text_[at_] == '\n') ++at_;
    ++lines_;
  }

  bool comma() {
    if (at_ >= text_.size() || text_[at_] != ',') return false;
    ++at_;
    return true;
  }

  std::string plain() {
    size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    std::string_view field = text_.substr(at_, end - at_);
    at_ = end;
    auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!field.empty() && blank(field.front())) field.remove_prefix(1);
    while (!field.empty() && blank(field.back())) field.remove_suffix(1);
    return std::string(field);
  }

  std::string quoted() {
    std::string field;
    for (++at_;;) {
      size_t end = text_.find('"', at_);
      if (end == std::string_view::npos)
        fail_data(fmt::format("{}:{}: a field in quotes has no end", path_, line_));
      field += text_.substr(at_, end - at_);
      at_ = end + 1;
      if (at_ >= text_.size() || text_[at_] != '"') break;
      field += '"';
      ++at_;
    }
    lines_ += std::count(field.begin(), field.end(), '\n');
    at_ = std::min(text_.find_first_not_of(" \t", at_), text_.size());
    if (at_ < text_.size() && text_.find_first_of(",\r\n", at_) != at_)
      fail_data(
          fmt::format("{}:{}: after a field in quotes comes '{}', expected a comma or the end of the line",
                      path_, line_, text_[at_]));
    return field;
  }

  const std::string& path_;
  std::string_view text_;
  size_t at_ = 0;
  int64_t line_ = 1, lines_ = 1;
};

std::optional<double> number_of(std::string_view field) {
  if (field.starts_with('+')) field.remove_prefix(1);
  double value = 0;
  auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size()) return std::nullopt;
  return value;
}

std::vector<size_t> columns_of(const std::string& path, const std::vector<std::string>& header,
                               const std::vector<std::string>& wanted, const char* what) {
  std::vector<size_t> columns;
  for (const auto& name : wanted) {
    auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end())
      fail_data(fmt::format("{}: has no column \"{}\" ({}); there are: {}", path, name, what,
                            fmt::join(header, ", ")));
    columns.push_back(found - header.begin());
  }
  return columns;
}

// What is no line of names, but was written by a program with other habits.
void check_header(const std::string& path, const std::vector<std::string>& names) {
  for (char separator : {';', '\t', '|'})
    if (names.size() == 1 && names[0].find(separator) != std::string::npos)
      fail_data(fmt::format("{}:1: columns are separated by {}, expected commas", path,
                            separator == '\t' ? "tabs" : fmt::format("'{}'", separator)));
  if (std::all_of(names.begin(), names.end(), [](const auto& name) { return number_of(name).has_value(); }))
    fail_data(
        fmt::format("{}:1: all column names are numbers ({}): the first line must name the columns, "
                    "and this looks like an example",
                    path, fmt::join(names, ", ")));
}

// Which columns are what.
struct Layout {
  std::vector<std::string> header;
  std::vector<size_t> inputs, targets;

  Layout(const std::string& path, std::vector<std::string> names, const CsvOptions& options)
      : header(std::move(names)) {
    std::set<std::string> seen;
    for (const auto& name : header)
      if (!seen.insert(name).second) fail_data(fmt::format("{}:1: two columns are named \"{}\"", path, name));
    targets = options.targets.empty() ? std::vector<size_t>{header.size() - 1}
                                      : columns_of(path, header, options.targets, "a target");
    auto ignored = columns_of(path, header, options.ignore, "to be ignored");
    auto among = [](const std::vector<size_t>& columns, size_t i) {
      return std::find(columns.begin(), columns.end(), i) != columns.end();
    };
    for (size_t i = 0; i < header.size(); ++i)
      if (!among(targets, i) && !among(ignored, i)) inputs.push_back(i);
    if (inputs.empty()) fail_data(fmt::format("{}: has no column left for inputs", path));
    if (options.classes && targets.size() != 1)
      fail_data(fmt::format("{}: classes are one column; the targets are {}", path,
                            fmt::join(options.targets, ", ")));
  }

  std::vector<std::string> names(const std::vector<size_t>& columns) const {
    std::vector<std::string> list;
    for (size_t i : columns) list.push_back(header[i]);
    return list;
  }
};

// Numbers in their order where all are whole, else letters in theirs.
std::vector<std::string> sorted_classes(const std::vector<std::string>& labels) {
  std::vector<std::string> classes(labels);
  auto whole = [](const std::string& label) {
    auto value = number_of(label);
    return value && *value == std::floor(*value);
  };
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  if (std::all_of(classes.begin(), classes.end(), whole))
    std::stable_sort(classes.begin(), classes.end(),
                     [](const auto& a, const auto& b) { return *number_of(a) < *number_of(b); });
  return classes;
}

Tensor matrix_of(const std::vector<double>& values, size_t columns) {
  return at::tensor(values, at::kDouble).view({-1, static_cast<int64_t>(columns)});
}

}  // namespace

CsvTable load_csv(const std::string& path, const CsvOptions& options) {
  std::string text = text_of(path);
  Records records(path, text);
  std::vector<std::string> fields;
  if (!records.next(fields)) fail_data(fmt::format("{}: is empty; expected a line of column names", path));
  check_header(path, fields);
  Layout layout(path, fields, options);
  std::vector<double> inputs, targets;
  std::vector<std::string> labels;
  std::vector<int64_t> lines;
  auto number = [&](size_t column) {
    const std::string& field = fields[column];
    auto value = number_of(field);
    if (value && std::isfinite(*value)) return *value;
    fail_data(fmt::format("{}:{}: column \"{}\" {}: expected a finite number", path, records.line(),
                          layout.header[column], field.empty() ? "is missing" : "is \"" + field + "\""));
  };
  while (records.next(fields)) {
    if (fields.size() != layout.header.size())
      fail_data(fmt::format("{}:{}: has {} fields, expected {} as in the first line", path, records.line(),
                            fields.size(), layout.header.size()));
    for (size_t column : layout.inputs) inputs.push_back(number(column));
    for (size_t column : layout.targets) {
      if (!options.classes) {
        targets.push_back(number(column));
      } else if (fields[column].empty()) {
        number(column);  // says that it is missing
      } else {
        labels.push_back(fields[column]);
      }
    }
    lines.push_back(records.line());
  }
  if (lines.empty()) fail_data(fmt::format("{}: has no line after the column names", path));
  Tensor x = matrix_of(inputs, layout.inputs.size());
  std::vector<std::string> classes;
  Tensor y;
  if (options.classes) {
    classes = options.class_names.empty() ? sorted_classes(labels) : options.class_names;
    std::unordered_map<std::string, int64_t> number_of_class;
    for (const auto& name : classes) number_of_class.emplace(name, std::ssize(number_of_class));
    std::vector<int64_t> numbers;
    for (size_t i = 0; i < labels.size(); ++i) {
      auto found = number_of_class.find(labels[i]);
      if (found == number_of_class.end())
        fail_data(fmt::format(
            "{}:{}: column \"{}\" is \"{}\", a class that the training data do not have: {}", path, lines[i],
            layout.header[layout.targets[0]], labels[i], fmt::join(classes, ", ")));
      numbers.push_back(found->second);
    }
    y = at::tensor(numbers, at::kLong);
  } else {
    y = matrix_of(targets, layout.targets.size());
  }
  return {Dataset(x, y), layout.names(layout.inputs), layout.names(layout.targets), classes};
}

}  // namespace osculant
