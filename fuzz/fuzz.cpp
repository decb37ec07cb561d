#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "fuzz/targets.h"

// Gives a target the files of a folder and, with a number, that many variants of them, changed at random:
//   osculant_fuzz TARGET FOLDER [VARIANTS [SEED]]
// A crash is the failure; with OSCULANT_FUZZ_LAST=FILE what was read last is left there.
namespace {

using namespace osculant::fuzz;
using Bytes = std::vector<uint8_t>;

Bytes bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void change(Bytes& bytes, const std::vector<Bytes>& corpus, std::mt19937_64& random) {
  auto below = [&](size_t n) { return static_cast<size_t>(random() % std::max<size_t>(n, 1)); };
  auto position = [&](size_t n) { return static_cast<std::ptrdiff_t>(below(n)); };
  static constexpr uint8_t odd[] = {0,   1,   0x7f, 0x80, 0xff, '"', '{', '}',
                                    '[', ']', ',',  '-',  '9',  'e', '\n'};
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    switch (below(6)) {
      case 0:
        if (!bytes.empty()) bytes[below(bytes.size())] = odd[below(std::size(odd))];
        break;
      case 1:
        if (!bytes.empty()) bytes[below(bytes.size())] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 2:
        bytes.insert(bytes.begin() + position(bytes.size() + 1), odd[below(std::size(odd))]);
        break;
      case 3:
        bytes.resize(below(bytes.size() + 1));
        break;
      case 4: {
        auto from = position(bytes.size()), to = position(bytes.size());
        if (from < to) bytes.erase(bytes.begin() + from, bytes.begin() + to);
        break;
      }
      default: {
        const Bytes& other = corpus[below(corpus.size())];
        auto from = position(other.size() + 1), to = position(other.size() + 1);
        if (from < to)
          bytes.insert(bytes.begin() + position(bytes.size() + 1), other.begin() + from, other.begin() + to);
      }
    }
    if (bytes.size() > (1 << 16)) bytes.resize(1 << 16);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: osculant_fuzz TARGET FOLDER [VARIANTS [SEED]]\n");
    return 2;
  }
  const std::string name = arguments[1];
  Target run = nullptr;
  for (size_t i = 0; i < target_count; ++i)
    if (name == targets[i].name) run = targets[i].run;
  if (run == nullptr) {
    std::fprintf(stderr, "osculant_fuzz: there is no target %s\n", name.c_str());
    return 2;
  }
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[2])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> corpus;
  for (const auto& path : paths) {
    corpus.push_back(bytes_of(path));
    run(corpus.back().data(), corpus.back().size());
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "osculant_fuzz: %s is empty\n", arguments[2]);
    return 2;
  }
  std::mt19937_64 random(count > 4 ? std::stoull(arguments[4]) : 1);
  const long variants = count > 3 ? std::stol(arguments[3]) : 0;
  for (long i = 0; i < variants; ++i) {
    Bytes bytes = corpus[random() % corpus.size()];
    change(bytes, corpus, random);
    if (const char* last = std::getenv("OSCULANT_FUZZ_LAST")) {
      std::ofstream out(last, std::ios::binary);
      out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    run(bytes.data(), bytes.size());
  }
  std::printf("%s: %zu files and %ld variants\n", name.c_str(), corpus.size(), variants);
}
