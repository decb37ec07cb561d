#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace osculant {

// Numbers and tables as a person reads them. Plain text, no terminal codes.
std::string format_bytes(int64_t bytes);     // "512 B", "3.4 MiB"
std::string format_seconds(double seconds);  // "0.42 s", "3 min 20 s", "2 h 05 min"
std::string format_count(int64_t count);     // "1,501,770"
std::string format_number(double value);     // four significant digits: "1.235e-05", "12.35"

// Inverse of format_bytes for budgets and sizes: "2GiB", "500 MB", "1024". Throws Error(usage) naming
// `field`.
int64_t parse_bytes(std::string_view field, std::string_view text);

// A table with aligned columns: text to the left, numbers to the right. The first row is the header.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string str(std::string_view indent = "  ") const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// The candidate nearest to `word` by edit distance, or "" when none is near enough to be what was meant.
std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates);

// " (did you mean adam?)" of that candidate for the end of a message, or "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

// Shell-style match of a whole name: '*' any run of characters, '?' any one.
bool glob_match(std::string_view pattern, std::string_view name);

}  // namespace osculant
