#pragma once

#include <string>
#include <vector>

#include "osculant/data/dataset.h"

namespace osculant {

struct CsvOptions {
  std::vector<std::string> targets = {};  // columns, by name; empty: the last one
  std::vector<std::string> ignore = {};   // columns left out
  bool classes = false;                   // the target is a class, its entries names: they become 0, 1, ...
  std::vector<std::string> class_names =
      {};  // the classes in order, as training data had them; empty: those
           // of the file, as numbers where they are all whole, else by letter
};

struct CsvTable {
  Dataset data;  // inputs float64 [N, columns]; targets float64 [N, targets], or int64 [N] for classes
  std::vector<std::string> inputs, targets;  // columns
  std::vector<std::string> classes;
};

// A table of numbers with a line of column names: fields separated by commas, in double quotes where they
// hold commas or line ends (RFC 4180). Throws Error(data) naming file, line, column, entry and what was
// expected: an entry that is missing or no finite number, a line of another length, a column named twice or
// not there, a class the training data did not have.
CsvTable load_csv(const std::string& path, const CsvOptions& options = {});

}  // namespace osculant
