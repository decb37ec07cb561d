#include "osculant/data/text_dataset.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

#include "osculant/base/error.h"

namespace osculant {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string bytes_of(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    fail_data(fmt::format("{}: is a folder; expected a text", path));
  std::ifstream in(path, std::ios::binary);
  if (!in) fail_data(fmt::format("{}: cannot be read", path));
  return {std::istreambuf_iterator<char>(in), {}};
}

// "book.txt:12: byte 834", lines from 1 and bytes from 0.
std::string place(const std::string& path, std::string_view bytes, size_t at) {
  return fmt::format("{}:{}: byte {}", path, 1 + std::count(bytes.begin(), bytes.begin() + at, '\n'), at);
}

// The code point that begins at `at`, and its length; length 0 where no character of UTF-8 does: a stray or
// missing continuation, a form longer than needed, a surrogate, beyond U+10FFFF (RFC 3629, section 4).
std::pair<char32_t, size_t> decode(std::string_view bytes, size_t at) {
  auto byte = [&](size_t i) { return i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : uint8_t{0}; };
  uint8_t first = byte(at);
  if (first < 0x80) return {first, 1};
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return {0, 0};
  char32_t point = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return {0, 0};
    point = point << 6 | (byte(at + i) & 0x3f);
  }
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = point >= 0xd800 && point < 0xe000;
  return point < least[length] || point > 0x10ffff || surrogate ? std::pair{char32_t{0}, size_t{0}}
                                                                : std::pair{point, length};
}

struct Text {
  std::string bytes;
  std::u32string characters;
  std::vector<size_t> offsets;  // of each character in bytes
};

Text read_text(const std::string& path) {
  Text text{bytes_of(path), {}, {}};
  std::string_view bytes = text.bytes;
  for (size_t at = bytes.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; at < bytes.size();) {
    auto [point, length] = decode(bytes, at);
    if (length == 0)
      fail_data(fmt::format("{}: 0x{:02x} begins no character of UTF-8", place(path, bytes, at),
                            static_cast<uint8_t>(bytes[at])));
    text.characters += point;
    text.offsets.push_back(at);
    at += length;
  }
  if (text.characters.empty()) fail_data(fmt::format("{}: is empty; expected a text", path));
  return text;
}

std::u32string alphabet_of(const std::string& path, const std::u32string& characters) {
  std::u32string alphabet = characters;
  std::sort(alphabet.begin(), alphabet.end());
  alphabet.erase(std::unique(alphabet.begin(), alphabet.end()), alphabet.end());
  if (alphabet.size() < 2)
    fail_data(fmt::format("{}: is one character over and over; there is nothing to predict", path));
  return alphabet;
}

// The index of every character in the alphabet, int64 [L].
Tensor tokens_of(const std::string& path, const Text& text, const std::u32string& alphabet) {
  std::vector<int64_t> tokens;
  for (size_t i = 0; i < text.characters.size(); ++i) {
    auto found = std::lower_bound(alphabet.begin(), alphabet.end(), text.characters[i]);
    if (found == alphabet.end() || *found != text.characters[i])
      fail_data(fmt::format("{}: '{}' (U+{:04X}) is no character of the training text",
                            place(path, text.bytes, text.offsets[i]),
                            text.bytes.substr(text.offsets[i], decode(text.bytes, text.offsets[i]).second),
                            static_cast<uint32_t>(text.characters[i])));
    tokens.push_back(found - alphabet.begin());
  }
  return at::tensor(tokens, at::kLong);
}

Dataset examples_of(const std::string& path, const char* part, const Tensor& tokens,
                    const TextOptions& options) {
  if (tokens.size(0) <= options.context)
    fail_data(fmt::format("{}: {} {} characters; an example of context = {} needs {}", path, part,
                          tokens.size(0), options.context, options.context + 1));
  int64_t stride = options.stride > 0 ? options.stride : options.context;
  Tensor windows = tokens.unfold(0, options.context + 1, stride);
  return Dataset(windows.narrow(1, 0, options.context).contiguous(),
                 windows.narrow(1, 1, options.context).contiguous());
}

}  // namespace

void TextOptions::check() const {
  require_at_least("context", static_cast<double>(context), 1);
  require_at_least("stride", static_cast<double>(stride), 0);
  if (!(test_share >= 0 && test_share < 1))
    fail_option("test_share", fmt::format("{}", test_share), ">= 0 and < 1");
}

TextData load_text(const std::string& given, const TextOptions& options) {
  options.check();
  const std::string path = given.empty() ? kDefaultText : given;
  Text text = read_text(path);
  std::u32string alphabet = options.alphabet.empty() ? alphabet_of(path, text.characters) : options.alphabet;
  Tensor tokens = tokens_of(path, text, alphabet);
  if (options.test_share == 0) return {examples_of(path, "has", tokens, options), std::nullopt, alphabet};
  int64_t all = tokens.size(0), train = std::llround((1 - options.test_share) * static_cast<double>(all));
  return {examples_of(path, "for training it has", tokens.narrow(0, 0, train), options),
          examples_of(path, "for testing it has", tokens.narrow(0, train, all - train), options), alphabet};
}

}  // namespace osculant
