#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "osculant/base/stopwatch.h"

namespace osculant {

// One line of progress for whoever watches; may be empty.
using ShowProgress = std::function<void(const std::string& line)>;

// The live line of an analysis: "Hessian: product 40 of about 190, looking for missed eigenvalues; about 25 s
// left". Products are the unit; a part that takes more of them than expected moves the end.
class AnalysisProgress {
 public:
  AnalysisProgress(ShowProgress show, int64_t expected) : show_(std::move(show)), expected_(expected) {}

  void begin(int64_t expected);  // the next part
  void skip(int64_t expected);   // it was made in an earlier session
  // `made`: products of this part so far. `title`: of the matrix.
  void show(const std::string& title, int64_t made, const std::string& doing);

 private:
  ShowProgress show_;
  int64_t expected_;                             // in all, of this session
  int64_t before_ = 0, of_part_ = 0, made_ = 0;  // products of finished parts; expected of this one, and made
  Stopwatch watch_;
};

}  // namespace osculant
