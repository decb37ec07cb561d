#include "osculant/study/result_directory.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "osculant/base/error.h"
#include "osculant/comm/communicator.h"
#include "osculant/io/atomic_file.h"
#include "osculant/io/single_writer.h"
#include "osculant/study/result_files.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;

bool holds_results(const fs::path& path) {
  for (const auto& name : known_entries())
    if (fs::exists(path / name)) return true;
  return false;
}

// Whether it was not there.
bool make_folder(const std::string& path) {
  std::error_code error;
  bool made = fs::create_directories(path, error);
  if (!error && fs::is_directory(path)) return made;
  fail(ErrorKind::write, fmt::format("{}: cannot make this result directory: {}", path,
                                     error ? error.message() : "it is a file"));
}

int lock_folder(const std::string& path) {
  int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) fail(ErrorKind::write, fmt::format("{}: {}", path, std::strerror(errno)));
  if (flock(folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(folder);
    fail(ErrorKind::write, fmt::format("{}: another run is writing to this result directory", path));
  }
  return folder;
}

void remove_results(const std::string& path) {
  for (const auto& name : known_entries()) {
    std::error_code error;
    fs::remove_all(fs::path(path) / name, error);
    if (error)
      fail(ErrorKind::write, fmt::format("{}/{}: cannot be removed: {}", path, name, error.message()));
  }
}

}  // namespace

void require_usable(const std::string& path, Existing existing) {
  if (!fs::is_directory(path) || fs::is_empty(path)) return;
  if (!holds_results(path) && existing != Existing::resume)
    fail_usage(
        fmt::format("{}: this folder holds files that are no results; choose another with --out", path));
  if (existing == Existing::refuse)
    fail_usage(
        fmt::format("{}: holds results already; --resume goes on with them, --overwrite replaces them, "
                    "--out DIR writes elsewhere",
                    path));
}

std::optional<std::string> finished_result(const std::string& path) {
  std::ifstream in(path + "/result.json");
  if (!in) return std::nullopt;
  std::string text{std::istreambuf_iterator<char>(in), {}};
  auto record = nlohmann::json::parse(text, nullptr, false);
  if (!record.is_object()) return std::nullopt;
  auto schema = record.find("schema"), status = record.find("status");
  if (status == record.end() || *status != "done") return std::nullopt;
  require_known_schema(schema != record.end() && schema->is_number() ? schema->get<double>() : std::nan(""),
                       path + "/result.json");
  return text;
}

std::string command_of_results(const std::string& path) {
  std::ifstream in(path + "/result.json");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  auto record = nlohmann::json::parse(text, nullptr, false);
  if (record.is_object() && record.contains("command") && record["command"].is_string())
    return record["command"].get<std::string>();
  if (fs::exists(path + "/metrics.jsonl")) return "train";
  return fs::exists(path + "/contestants.jsonl") ? "compare" : "";
}

ResultDirectory::ResultDirectory(std::string path, Existing existing) : path_(std::move(path)) {
  if (!writes_files()) return;
  made_ = make_folder(path_);
  lock_ = lock_folder(path_);
  try {
    require_usable(path_, existing);
    if (existing == Existing::overwrite) remove_results(path_);
    refuse_links(path_);
  } catch (...) {
    close(lock_);
    throw;
  }
}

ResultDirectory::~ResultDirectory() {
  if (lock_ >= 0) close(lock_);
}

void ResultDirectory::write(const std::string& name, const std::string& text) const {
  write_file(file(name), text);
}

void ResultDirectory::remove_if_empty() const {
  if (!writes_files()) return;
  std::error_code ignored;
  for (const auto& name : known_entries())
    if (name != "run.toml" && fs::exists(file(name), ignored) && !fs::is_empty(file(name), ignored)) return;
  for (const auto& name : known_entries()) fs::remove(file(name), ignored);
  if (made_) fs::remove(path_, ignored);
}

std::string default_result_directory(const std::string& command) {
  auto now = static_cast<std::time_t>(world_communicator().of_first(static_cast<double>(std::time(nullptr))));
  std::tm local{};
  localtime_r(&now, &local);
  std::string base = fmt::format("runs/{}-{:%Y%m%d-%H%M%S}", command, local);
  std::string path = base;
  for (int i = 2; fs::exists(path); ++i) path = fmt::format("{}-{}", base, i);
  return path;
}

}  // namespace osculant
