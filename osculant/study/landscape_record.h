#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/study/interval_record.h"

namespace osculant {

// What an analysis found of the objective about theta, seen through one matrix: spectrum.MATRIX.alignment,
// .slices and .sampling_error of result.json (docs/landscape.md).

struct AlignmentRecord {
  struct End {
    std::vector<IntervalRecord> cosines, shares;
  };
  struct Direction {
    double curvature = 0, rounding = 0;
  };
  End largest, smallest;
  Direction gradient, random;
  double miss_probability = 0;
};

struct SlicesRecord {
  struct Line {
    std::string direction;  // "largest 1"
    double slope = 0, curvature = 0, radius = 0, reach = 0;
    std::vector<double> steps, values, model;
  };
  struct Plane {
    std::string normalization;
    int64_t seed = 0;
    double radius = 0;
    std::vector<double> steps;
    std::vector<std::vector<double>> values, model;
  };
  std::vector<Line> lines;
  std::vector<Plane> planes;
};

struct SamplingErrorRecord {
  struct Size {
    int64_t parts = 0;
    double mean = 0, deviation = 0;
    std::vector<double> values;
  };
  struct Number {
    double value = 0, error = 0, deviation = 0;
    IntervalRecord bias, predicted, population;
    std::vector<Size> sizes;
  };
  Number largest, smallest, trace;
  int64_t examples = 0;
};

std::string to_text(const AlignmentRecord& alignment);
std::string to_text(const SlicesRecord& slices);
std::string to_text(const SamplingErrorRecord& sampling);

}  // namespace osculant
