#pragma once

#include <map>
#include <string>

#include "osculant/io/line_file.h"
#include "osculant/study/result.h"

namespace osculant {

// A contestant as result.json has it, on one line, and back. Error(data) for what is no such line.
std::string to_json(const ContestantRecord& contestant);
ContestantRecord contestant_from_json(const std::string& line);

// contestants.jsonl: a line for each contestant that came to its end, written at once, so that an interrupted
// comparison keeps what it has.
class ContestantLog {
 public:
  // `resume` reads what is there; otherwise the file is emptied.
  ContestantLog(const std::string& path, bool resume);

  const ContestantRecord* find(const std::string& key) const;  // null: not yet
  void add(const std::string& key, const ContestantRecord& contestant);

 private:
  std::map<std::string, ContestantRecord> finished_;
  LineFile file_;
};

}  // namespace osculant
