#include "osculant/base/printable.h"

namespace osculant {

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    bool c1 =
        c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;  // U+0080..9F
    if (c1) ++i;
    out += c1 || c == 0x7F || (c < 0x20 && c != '\n' && c != '\t') ? '?' : text[i];
  }
  return out;
}

}  // namespace osculant
