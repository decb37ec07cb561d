#include "osculant/report/training_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "osculant/report/chart.h"

namespace osculant {
namespace {

const std::vector<ChartAxis> progress_axes{{"steps"}, {"seconds"}, {"gradient equivalents"}};

void add_point(ChartSeries& series, const Record& step, double y) {
  series.x.resize(3);
  series.x[0].push_back(number(step, "step"));
  series.x[1].push_back(number(step, "seconds"));
  series.x[2].push_back(number(step, "gradient_equivalents"));
  series.y.push_back(y);
}

ChartSeries step_series(const std::vector<Record>& steps, const char* field, std::string name, int colour) {
  ChartSeries series{.name = std::move(name), .colour = colour};
  for (const auto& step : steps)
    if (double y = number(step, field); std::isfinite(y)) add_point(series, step, y);
  return series;
}

ChartSeries evaluation_series(const std::vector<Record>& steps, const std::string& metric, int colour) {
  ChartSeries series{.name = metric == "loss" ? "loss, all the data" : metric, .colour = colour};
  for (const auto& step : steps)
    if (double y = number(part(step, "evaluation"), metric.c_str()); std::isfinite(y))
      add_point(series, step, y);
  return series;
}

// The series that have points, thinned; none where there are none.
std::string figure_of(Chart chart, std::vector<ChartSeries> series) {
  for (auto& one : series) {
    if (one.y.empty()) continue;
    thin(one);
    chart.series.push_back(std::move(one));
  }
  return chart.series.empty() ? "" : figure(chart);
}

Section loss_section(const std::vector<Record>& steps) {
  Section section{"loss", "Loss", ""};
  section.body = figure_of(
      {.id = "loss-curve",
       .title = "Loss",
       .caption =
           "The loss of each step's batch, and of all the data where it was evaluated, on a log scale.",
       .x = progress_axes,
       .y = {"loss", true}},
      {step_series(steps, "loss_before", "loss, the step's batch", 2), evaluation_series(steps, "loss", 0),
       evaluation_series(steps, "test.loss", 1)});
  std::vector<ChartSeries> metrics;
  for (const auto& step : steps) {
    if (!metrics.empty()) break;
    for (const auto& [name, value] : part(step, "evaluation").items())
      if (name != "loss" && name != "test.loss")
        metrics.push_back(evaluation_series(steps, name, static_cast<int>(metrics.size())));
  }
  section.body += figure_of({.id = "metrics-curve",
                             .title = "Metrics",
                             .caption = "What was evaluated on the way.",
                             .x = progress_axes,
                             .y = {"value"}},
                            metrics);
  return section;
}

Section step_section(const std::vector<Record>& steps) {
  Section section{"steps", "Steps", ""};
  section.body = figure_of(
      {.id = "norms-curve",
       .title = "Gradient and step",
       .caption = "Norms of the gradient and of the step, on a log scale.",
       .x = progress_axes,
       .y = {"norm", true}},
      {step_series(steps, "gradient_norm", "gradient", 0), step_series(steps, "step_norm", "step", 1)});
  section.body +=
      figure_of({.id = "damping-curve",
                 .title = "Damping",
                 .caption = "lambda, on a log scale: large where the quadratic model is not trusted.",
                 .x = progress_axes,
                 .y = {"lambda", true}},
                {step_series(steps, "damping", "lambda", 3)});
  section.body +=
      figure_of({.id = "rho-curve",
                 .title = "Gain ratio",
                 .caption = "rho, the actual change of the objective over the predicted one: near 1 "
                            "the quadratic model is right, below 0 the objective rose.",
                 .x = progress_axes,
                 .y = {"rho"}},
                {step_series(steps, "rho", "rho", 4)});
  return section;
}

Section outcome_section(const Record& training) {
  Section section{"outcome", "Outcome", ""};
  const Record &final_values = part(training, "final"), &test = part(final_values, "test");
  HtmlTable table("At the end", {"", "training data", "test data"});
  table.add({"loss", shown(final_values, "loss"), test.empty() ? "" : shown(test, "loss")});
  for (const auto& [name, value] : part(final_values, "metrics").items())
    table.add({name, shown(part(final_values, "metrics"), name.c_str()),
               test.empty() ? "" : shown(test, name.c_str())});
  table.add({"objective, regularisers included", shown(final_values, "objective"), ""});
  section.body = table.str();
  if (const Record& curvature = part(training, "curvature"); !curvature.empty())
    section.body += paragraph(text(curvature, "message"));
  return section;
}

std::string warning_words(const Record& warning) {
  return fmt::format("Step {}: {} {}", shown_count(warning, "step"), text(warning, "message"),
                     text(warning, "remedy"));
}

// The curvature along the steepest direction found, against what is stable.
std::string sharpness_figure(const Record& watch) {
  const Record& points = part(watch, "sharpness");
  if (points.empty()) return "";
  ChartSeries curvature{.name = "curvature", .x = {{}}, .colour = 0};
  ChartSeries limit{.name = "limit of stability", .x = {{}}, .dashed = true, .colour = 2};
  for (const auto& point : points) {
    const Record& found = part(point, "curvature");
    for (auto* series : {&curvature, &limit}) series->x[0].push_back(number(point, "step"));
    curvature.y.push_back(number(found, "value"));
    curvature.low.push_back(number(found, "low"));
    curvature.high.push_back(number(found, "high"));
    limit.y.push_back(number(point, "limit"));
  }
  return figure({.id = "sharpness-curve",
                 .title = "Curvature and the step",
                 .caption = "Along the steepest direction found, with 95 % intervals. Dashed: " +
                            text(watch, "limit_words") + ".",
                 .x = {{"step"}},
                 .y = {"curvature", true},
                 .series = {curvature, limit}});
}

Section watch_section(const Record& training) {
  Section section{"watch", "Watched", ""};
  const Record& watch = part(training, "watch");
  if (watch.empty()) return section;
  section.body = paragraph(text(watch, "words") + ".");
  for (const auto& warning : part(watch, "warnings")) section.body += paragraph(warning_words(warning));
  section.body += sharpness_figure(watch);
  return section;
}

}  // namespace

StepLog read_steps(const std::string& lines, size_t most) {
  size_t count = std::count(lines.begin(), lines.end(), '\n'), stride = count / most + 1;
  StepLog log;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line); ++log.steps) {
    if (line.find("\"accepted\":false") != std::string::npos) ++log.rejected;
    bool evaluated = stride <= 100 && line.find("\"evaluation\"") != std::string::npos;
    if (log.steps % stride != 0 && log.steps + 1 != count && !evaluated) continue;
    Record step = Record::parse(line, nullptr, /*allow_exceptions=*/false);
    if (step.is_object()) log.kept.push_back(std::move(step));
  }
  return log;
}

std::vector<std::string> training_summary(const Record& result, const StepLog& log) {
  const Record &training = part(result, "training"), &final_values = part(training, "final");
  std::vector<std::string> words;
  words.push_back(fmt::format("{} brought the loss from {} to {} in {} steps ({} epochs).",
                              text(training, "method"), shown(part(training, "initial"), "loss"),
                              shown(final_values, "loss"), shown_count(training, "steps"),
                              shown(training, "epochs")));
  for (const auto& warning : part(part(training, "watch"), "warnings"))
    words.push_back("Warning. " + warning_words(warning));
  words.push_back("It stopped: " + text(part(training, "stop"), "message") + ".");
  if (const Record& reached = part(training, "reached"); reached.is_boolean())
    words.push_back(reached.get<bool>() ? "The target was reached." : "The target was not reached.");
  if (const Record& test = part(final_values, "test"); !test.empty())
    words.push_back(fmt::format("On test data the loss is {}.", shown(test, "loss")));
  if (log.rejected > 0)
    words.push_back(fmt::format("{} of {} steps were rejected: the objective did not fall as the model said.",
                                log.rejected, log.steps));
  if (const Record& curvature = part(training, "curvature"); !curvature.empty())
    words.push_back(text(curvature, "message"));
  else
    words.push_back("Whether the end is a minimum is unknown: --require-psd would say.");
  return words;
}

std::vector<Section> training_sections(const Record& result, const StepLog& log) {
  std::vector<Section> sections;
  for (Section section : {loss_section(log.kept), watch_section(part(result, "training")),
                          step_section(log.kept), outcome_section(part(result, "training"))})
    if (!section.body.empty()) sections.push_back(std::move(section));
  return sections;
}

}  // namespace osculant
