#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "osculant/base/interrupt.h"
#include "osculant/io/atomic_file.h"

// What the library does in more than one thread, under ThreadSanitizer: files that several threads write, one
// of them the same for all, and a signal that ends all their work. Linked to these sources alone, since
// libtorch carries no sanitizer. Returns 0 when nothing was torn.
int main() {
  using namespace osculant;
  namespace fs = std::filesystem;
  const auto folder = fs::temp_directory_path() / ("osculant_threads_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const std::string shared = folder / "shared";
  std::atomic<int> torn{0}, written{0};
  install_interrupt_handlers();

  auto whole = [](const std::string& text) { return text.find_first_not_of(text[0]) == std::string::npos; };
  auto work = [&](char letter) {
    const std::string own = folder / std::string(1, letter);
    const std::string contents(size_t{10000} + static_cast<size_t>(letter), letter);
    while (interrupt_signal() == 0) {
      for (const auto& path : {shared, own}) write_file(path, contents);
      const std::string read = read_file(shared);
      torn += read.size() != size_t{10000} + static_cast<size_t>(read[0]) || !whole(read);
      torn += read_file(own) != contents;
      if (++written == 200) std::raise(SIGTERM);
    }
  };
  std::vector<std::thread> threads;
  for (char letter : {'a', 'b', 'c', 'd'}) threads.emplace_back(work, letter);
  for (auto& thread : threads) thread.join();
  const auto files = std::distance(fs::directory_iterator(folder), fs::directory_iterator());
  fs::remove_all(folder);
  std::printf("%d rounds of four threads, %d torn, %td files, signal %d\n", written.load(), torn.load(),
              files, interrupt_signal());
  return torn == 0 && files == 5 && interrupt_signal() == SIGTERM ? 0 : 1;
}
