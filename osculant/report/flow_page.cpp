#include "osculant/report/flow_page.h"

#include <fmt/format.h>

#include <utility>

#include "osculant/report/chart.h"

namespace osculant {
namespace {

const Record& flow_of(const Record& result) {
  return part(part(result, "diagnosis"), "gradient_flow");
}

ChartSeries series_of(const Record& layers, const char* field, const char* name, int colour) {
  ChartSeries series{.name = name, .x = {{}}, .colour = colour};
  for (const auto& layer : layers) {
    series.x[0].push_back(static_cast<double>(series.y.size() + 1));
    series.y.push_back(number(layer, field));
  }
  return series;
}

std::string flow_chart(const Record& layers) {
  Chart chart{
      .id = "gradient-flow-chart",
      .title = "Signal by layer",
      .caption =
          "On a log scale, in the order of the forward pass: the variance of a layer's outputs between "
          "inputs, and the norm of the loss's gradient in them. A straight line is a layer's constant "
          "ratio; what is 0 has no point.",
      .x = {{"layer"}},
      .y = {"variance, norm", true}};
  chart.series.push_back(series_of(layers, "forward_variance", "forward variance", 0));
  chart.series.push_back(series_of(layers, "backward_norm", "backward norm", 1));
  return figure(chart);
}

std::string ratio_sentence(const Record& ratio, const char* what) {
  if (std::isnan(number(ratio, "value"))) return fmt::format("{}: unknown.", what);
  return fmt::format("{}: {}, 95 % interval {} to {}.", what, shown(ratio, "value"), shown(ratio, "low"),
                     shown(ratio, "high"));
}

std::string share(const Record& layer, const char* field) {
  double value = number(layer, field);
  return std::isnan(value) ? "-" : fmt::format("{:.0f} %", 100 * value);
}

}  // namespace

void add_flow_words(std::vector<std::string>& words, const Record& result) {
  if (std::string verdict = text(flow_of(result), "words"); !verdict.empty()) words.push_back(verdict);
}

void add_flow_section(std::vector<Section>& sections, const Record& result) {
  const Record& flow = flow_of(result);
  if (flow.empty()) return;
  Section section{"gradient-flow", "Gradient flow", paragraph(text(flow, "words"))};
  const Record& layers = part(flow, "layers");
  if (!layers.empty()) {
    section.body += flow_chart(layers);
    HtmlTable table("Layer by layer",
                    {"layer", "operation", "forward variance", "backward norm", "gradient / parameters",
                     "dead units", "saturated units"},
                    2);
    for (const auto& layer : layers) {
      std::string activation = text(layer, "activation");
      table.add({text(layer, "name"),
                 text(layer, "operation") + (activation.empty() ? "" : ", " + activation),
                 shown(layer, "forward_variance"), shown(layer, "backward_norm"),
                 shown(layer, "gradient_ratio"), share(layer, "dead"), share(layer, "saturated")});
    }
    section.body += table.str();
    section.body += bullet_list({ratio_sentence(part(flow, "forward_ratio"),
                                                "What a layer multiplies the variance between inputs by"),
                                 ratio_sentence(part(flow, "backward_ratio"),
                                                "What a layer multiplies gradients by on the way back")});
  }
  sections.push_back(std::move(section));
}

}  // namespace osculant
