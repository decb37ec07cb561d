#pragma once

#include <optional>
#include <string>

namespace osculant {

// What to do with a result directory that holds something already.
enum class Existing { refuse, resume, overwrite };

// Throws Error(usage) when a run may not write to this folder: it holds results and `existing` is refuse, or
// files that are no results. To be asked before long work; ResultDirectory asks again.
void require_usable(const std::string& path, Existing existing);

// result.json of a run in this folder that came to its end; none for one that was interrupted, failed or is
// not there.
std::optional<std::string> finished_result(const std::string& path);

// The command whose results these are, by result.json or, where a run was killed, by what it alone writes;
// empty where nothing tells.
std::string command_of_results(const std::string& path);

// The folder a run writes to, locked for as long as this object lives: a second run in the same folder is
// refused. Files in it are written whole or not at all.
class ResultDirectory {
 public:
  // Makes the folder if it is not there. Throws as require_usable does, and Error(write) when it cannot be
  // made, or another run has it. `overwrite` removes what an earlier run wrote and leaves other files alone.
  ResultDirectory(std::string path, Existing existing);
  ~ResultDirectory();
  ResultDirectory(const ResultDirectory&) = delete;
  ResultDirectory& operator=(const ResultDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

  void write(const std::string& name, const std::string& text) const;

  // Of a run that was refused before its first step: takes away its run file and empty log, and the folder
  // where it was made for them. Results stay.
  void remove_if_empty() const;

 private:
  std::string path_;
  int lock_ = -1;
  bool made_ = false;
};

// "runs/analyze-20260301-142233", with -2, -3, ... appended when it is taken.
std::string default_result_directory(const std::string& command);

}  // namespace osculant
