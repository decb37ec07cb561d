#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "osculant/io/descriptor.h"

namespace osculant {

// A file that grows by whole lines, such as metrics.jsonl: a line is one write, and one that fails half-way
// is taken back, so that a reader at any moment, and after any crash of this program, finds only whole lines.
// Failures are Error(write) naming path and reason.
class LineFile {
 public:
  enum class Mode {
    create,  // empty at first
    append,  // goes on after the last whole line there is; what a crash left of another is cut off
  };
  LineFile(std::string path, Mode mode);

  void append(std::string_view line);  // without its newline; must hold none
  void sync();                         // what was appended reaches the disk

  int64_t size() const { return size_; }  // bytes; a checkpoint keeps it, so that a resumed run can
  void truncate(int64_t size);            // drop the lines written after the checkpoint

 private:
  std::string path_;
  Descriptor file_;
  int64_t size_ = 0;
};

}  // namespace osculant
