#include "osculant/report/structure_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/report/chart.h"

namespace osculant {
namespace {

constexpr int shades = 8;
constexpr double decades = 4;  // that they span

// ---- sparsity ----

// 8 for the largest, 0 for what is four decades below.
int shade(double value, double largest) {
  if (!(value > 0) || !(largest > 0)) return 0;
  double share = 1 + std::log10(value / largest) / decades;
  return static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * shades));
}

std::string block_map(const std::string& name, const Record& sparsity) {
  std::vector<std::string> names;
  for (const auto& layer : part(sparsity, "layers")) names.push_back(text(layer, "name"));
  const Record& norms = part(sparsity, "norms");
  if (norms.size() != names.size()) return "";
  double largest = 0;
  for (const auto& row : norms)
    for (const auto& norm : row) largest = std::max(largest, number(norm, "value"));
  std::vector<std::vector<HeatCell>> rows;
  for (const auto& row : norms) {
    rows.emplace_back();
    for (const auto& norm : row) {
      double low = number(norm, "low"), high = number(norm, "high");
      bool exact = low == high || std::isnan(number(norm, "value"));
      rows.back().push_back({shown(norm, "value"), exact ? "" : shown(low) + " to " + shown(high),
                             shade(number(norm, "value"), largest)});
    }
  }
  bool formed = part(sparsity, "exact").is_boolean() && part(sparsity, "exact").get<bool>();
  return heat_table(
      fmt::format("Frobenius norms of the {}'s blocks by layer, {}; the deeper the colour the larger, over "
                  "{:g} decades",
                  name, formed ? "exact" : "each with its 95 % interval", decades),
      names, rows);
}

std::string left_out_table(const Record& sparsity) {
  HtmlTable table("What is left out, relative to the norm of the whole, with 95 % intervals",
                  {"kept", "left out"});
  table.add({"the diagonal", interval(part(sparsity, "off_diagonal"))});
  size_t w = 0;
  for (const auto& norm : part(sparsity, "beyond")) {
    table.add({w == 0 ? "each layer's own block" : fmt::format("blocks of layers at most {} apart", w),
               interval(norm)});
    if (++w == part(sparsity, "beyond").size() - 1) break;  // all blocks: nothing is left out
  }
  return table.str();
}

std::string negligible_words(const Record& sparsity) {
  double threshold = number(sparsity, "threshold"), scale = number(sparsity, "scale");
  return fmt::format("Share of the entries that are at most {}, {} times the scale: {}, seen in {} columns.",
                     shown(threshold * scale), shown(threshold), interval(part(sparsity, "negligible")),
                     shown_count(sparsity, "columns"));
}

Section sparsity_section(const std::string& matrix, const std::string& name, const Record& sparsity) {
  Section section{"sparsity-" + matrix, "Sparsity of the " + name, paragraph(text(sparsity, "words") + ".")};
  section.body += block_map(name, sparsity) + left_out_table(sparsity);
  section.body += paragraph(negligible_words(sparsity));
  section.body += paragraph(
      fmt::format("The scale, {}, is the largest diagonal entry that was computed, or the spectral norm over "
                  "the number of parameters if that is more: the largest entry is between it and {}.",
                  shown(sparsity, "scale"), shown(sparsity, "largest_high")));
  if (std::string how = text(sparsity, "how"); !how.empty()) section.body += paragraph(how);
  return section;
}

// ---- low rank ----

ChartSeries error_series(const Record& method, int colour) {
  ChartSeries series{.name = text(method, "method"), .x = {{}}, .colour = colour};
  for (const auto& error : part(method, "error")) {
    series.x[0].push_back(static_cast<double>(series.y.size()));
    series.y.push_back(number(error, "value"));
    series.low.push_back(number(error, "low"));
    series.high.push_back(number(error, "high"));
  }
  return series;
}

Section low_rank_section(const std::string& matrix, const std::string& name, const Record& low_rank) {
  Section section{"low-rank-" + matrix, "Low rank approximations of the " + name, ""};
  Chart chart{.id = "low-rank-chart-" + matrix,
              .title = "Error by rank",
              .caption = fmt::format("What is left of the {} beside its approximation of each rank, relative "
                                     "to its norm, on a log scale, with 95 % intervals; what is 0 has no "
                                     "point.",
                                     name),
              .x = {{"rank"}},
              .y = {"relative error", true}};
  HtmlTable table(fmt::format("The smallest rank for a relative error of {}", shown(low_rank, "wanted")),
                  {"method", "rank", "products of its own", "error at the highest rank"}, 2);
  std::vector<std::string> absent;
  int colour = 0;
  for (const auto& method : part(low_rank, "methods")) {
    const Record& error = part(method, "error");
    if (error.empty()) {
      absent.push_back(fmt::format("{}: unknown, {}", text(method, "method"), text(method, "note")));
      continue;
    }
    chart.series.push_back(error_series(method, colour++));
    table.add({text(method, "method"), text(method, "words"), shown_count(method, "products"),
               fmt::format("{} at rank {}", interval(error.back()), error.size() - 1)});
  }
  if (!chart.series.empty()) section.body = figure(chart);
  if (!table.empty()) section.body += table.str();
  if (!absent.empty()) section.body += bullet_list(absent);
  section.body += paragraph(fmt::format("The norm of the whole: {}.", interval(part(low_rank, "frobenius"))));
  if (std::string how = text(low_rank, "how"); !how.empty()) section.body += paragraph(how);
  return section;
}

// Of the methods that know it, the one of least rank.
std::string least_rank(const Record& low_rank) {
  const Record* best = nullptr;
  auto high = [](const Record& method) { return number(part(method, "rank"), "high"); };
  for (const auto& method : part(low_rank, "methods"))
    if (!std::isnan(high(method)) && (!best || high(method) < high(*best))) best = &method;
  return best ? fmt::format("{} by {}", text(*best, "words"), text(*best, "method")) : "";
}

}  // namespace

void add_structure_words(std::vector<std::string>& words, const std::string& name, const Record& spectrum) {
  if (const Record& sparsity = part(spectrum, "sparsity"); !sparsity.empty())
    words.push_back(fmt::format("By layers the {} is {}.", name, text(sparsity, "words")));
  const Record& low_rank = part(spectrum, "low_rank");
  if (low_rank.empty()) return;
  std::string least = least_rank(low_rank);
  words.push_back(least.empty()
                      ? fmt::format("No rank that was tried is known to come within {} of the {}'s norm.",
                                    shown(low_rank, "wanted"), name)
                      : fmt::format("The rank that comes within {} of the {}'s norm: {}.",
                                    shown(low_rank, "wanted"), name, least));
}

void add_structure_sections(std::vector<Section>& sections, const std::string& matrix,
                            const std::string& name, const Record& spectrum) {
  if (const Record& sparsity = part(spectrum, "sparsity"); !sparsity.empty())
    sections.push_back(sparsity_section(matrix, name, sparsity));
  if (const Record& low_rank = part(spectrum, "low_rank"); !low_rank.empty())
    sections.push_back(low_rank_section(matrix, name, low_rank));
}

}  // namespace osculant
