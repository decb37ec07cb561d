#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "fuzz/targets.h"

// libFuzzer's entries: osculant_libfuzzer --target=NAME [-libFuzzer's own options] FOLDER...
namespace {
osculant::fuzz::Target chosen = nullptr;
}

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  using namespace osculant::fuzz;
  constexpr std::string_view option = "--target=";
  for (int i = 1; i < *count; ++i) {
    std::string_view argument = (*arguments)[i];
    if (argument.substr(0, option.size()) != option) continue;
    for (size_t t = 0; t < target_count; ++t)
      if (argument.substr(option.size()) == targets[t].name) chosen = targets[t].run;
  }
  if (chosen != nullptr) return 0;
  std::fprintf(stderr, "osculant_libfuzzer: --target=NAME is needed, and NAME one of");
  for (size_t t = 0; t < target_count; ++t) std::fprintf(stderr, " %s", targets[t].name);
  std::fprintf(stderr, "\n");
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  chosen(data, bytes);
  return 0;
}
