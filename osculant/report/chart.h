#pragma once

#include <string>
#include <vector>

namespace osculant {

struct ChartAxis {
  std::string title = {};
  bool logarithmic = false;  // what is not positive is left out, and the caption should say so
};

struct ChartSeries {
  std::string name = {};
  std::vector<std::vector<double>> x = {};  // one for each of the chart's x axes
  std::vector<double> y = {};
  std::vector<double> low = {}, high = {};  // error bars; empty for none
  bool line = true;                         // points joined
  bool dashed = false;                      // and not named in the legend: another run of the same thing
  int colour = 0;                           // place in the page's palette
};

// A chart as the page's script draws it (assets/page.js), with the same numbers as a table for those who
// cannot see it. Bars: each series has a value for each label. With several x axes the reader picks one.
struct Chart {
  enum class Kind { points, bars };
  std::string id = {};
  std::string title = {};
  std::string caption = {};  // what there is to see, in a sentence
  Kind kind = Kind::points;
  std::vector<ChartAxis> x = {};
  ChartAxis y = {};
  std::vector<ChartSeries> series = {};
  std::vector<std::string> labels = {};  // bars alone
};

// <figure> with the canvas, the caption, the numbers as a table, and the data for the script.
std::string figure(const Chart& chart);

// At most about `points` of them, the extremes of y in each stretch kept: a million steps draw the same
// curve.
void thin(ChartSeries& series, size_t points = 800);

}  // namespace osculant
