#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "osculant/data/dataset.h"

namespace osculant {

struct TextOptions {
  int64_t context = 64;          // characters of an example
  int64_t stride = 0;            // from the start of one example to that of the next; 0: context
  double test_share = 0;         // of the text, its end, for test data; 0: none
  std::u32string alphabet = {};  // characters by number, ascending; empty: those of the text
  void check() const;
};

struct TextData {
  Dataset train;
  std::optional<Dataset> test;
  std::u32string alphabet;  // what the numbers stand for: tokens are indices into it
};

// A text to be predicted character by character: inputs int64 [N, context], and targets [N, context], the
// same characters one further on. A character is a code point of UTF-8; a byte order mark is passed over.
// Where there are test data the text is divided before examples are cut from it: no character of the one part
// is in an example of the other.
//
// "" is a text that every Debian has, kDefaultText. Throws Error(data) naming file, line and byte: a text
// that is empty, too short for one example in each part, no UTF-8, made of a single character, or has a
// character that is not in the alphabet given.
TextData load_text(const std::string& path = "", const TextOptions& options = {});

inline constexpr const char* kDefaultText = "/usr/share/common-licenses/GPL-3";

}  // namespace osculant
