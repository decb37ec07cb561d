#include "osculant/report/page.h"

#include <fmt/format.h>

#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/io/atomic_file.h"
#include "osculant/report/advice_page.h"
#include "osculant/report/analysis_page.h"
#include "osculant/report/assets.h"
#include "osculant/report/comparison_page.h"
#include "osculant/report/training_page.h"
#include "osculant/study/result_files.h"

namespace osculant {
namespace {

Record parse_result(const ReportFiles& files) {
  Record result = Record::parse(files.result, nullptr, /*allow_exceptions=*/false);
  std::string path = files.folder + "/result.json";
  if (!result.is_object()) fail_data(fmt::format("{}: damaged: it is no JSON object", path));
  require_known_schema(number(result, "schema"), path);
  return result;
}

struct Contents {
  std::string title;
  std::vector<std::string> summary;
  std::vector<Section> sections;
};

Contents contents_of(const Record& result, const StepLog& log) {
  std::string command = text(result, "command");
  if (command == "analyze") return {"Curvature", analysis_summary(result), analysis_sections(result)};
  if (command == "advise") return {"Advice", advice_summary(result), advice_sections(result)};
  if (command == "train") return {"Training", training_summary(result, log), training_sections(result, log)};
  if (command == "compare") return {"Race", comparison_summary(result), comparison_sections(result)};
  return {command, {fmt::format("What osculant {} found.", command)}, {}};
}

void add_status(std::vector<std::string>& summary, const Record& result) {
  std::string status = text(result, "status");
  if (status == "interrupted")
    summary.push_back("This run was interrupted: the numbers are those of the part that was done.");
  if (status == "failed")
    summary.push_back("This run failed numerically: its numbers are those of the end it came to.");
  for (const auto& note : part(result, "notes"))
    if (note.is_string()) summary.push_back("Note: " + note.get<std::string>() + ".");
}

Section model_section(const Record& model) {
  Section section{"model", "The network", ""};
  HtmlTable table("Layers", {"layer", "shape of the weight", "parameters"}, 2);
  for (const auto& layer : part(model, "layers")) {
    std::string shape;
    for (const auto& size : part(layer, "shape")) shape += (shape.empty() ? "" : " x ") + size.dump();
    table.add({text(layer, "name"), shape, shown_count(layer, "parameters")});
  }
  section.body = paragraph(fmt::format("{} trainable parameters; {} left alone.",
                                       shown_count(model, "parameters"), shown_count(model, "frozen")));
  if (!table.empty()) section.body += table.str();
  return section;
}

Section cost_section(const Record& result) {
  Section section{"cost", "Cost", ""};
  const Record &plan = part(result, "plan"), &cost = part(result, "cost");
  auto bytes = [](const Record& record, const char* field) {
    double value = number(record, field);
    return std::isnan(value) ? std::string("unknown") : format_bytes(whole(value));
  };
  auto seconds = [](const Record& record) {
    double value = number(record, "seconds");
    return std::isnan(value) ? std::string("unknown") : format_seconds(value);
  };
  HtmlTable table("Foreseen and spent", {"", "gradient equivalents", "time", "memory"});
  if (!plan.empty())
    table.add({"planned", shown(plan, "gradient_equivalents"), seconds(plan),
               bytes(plan, "bytes") + " beyond the start"});
  table.add(
      {"spent", shown(cost, "gradient_equivalents"), seconds(cost), bytes(cost, "peak_bytes") + " in all"});
  section.body = table.str();
  section.body += paragraph(
      "A gradient equivalent is one gradient over the whole training set, at fixed nominal prices; the time "
      "is "
      "wall clock, reading and evaluations included.");
  return section;
}

Section reproduction_section(const ReportFiles& files, const Record& result) {
  Section section{"reproduce", "How to reproduce it", ""};
  std::string command = text(result, "command");
  section.body = paragraph(
      fmt::format("osculant {}. The same run file, seed, number of threads and machine give the same bits:",
                  text(result, "version")));
  section.body += "<pre>osculant " + escape_html(command) + " run.toml --out again</pre>\n";
  if (!files.run_file.empty())
    section.body +=
        "<details><summary>run.toml</summary>\n<pre>" + escape_html(files.run_file) + "</pre></details>\n";
  return section;
}

std::string navigation(const std::vector<Section>& sections) {
  std::string out = "<nav aria-label=\"Sections\"><ul>\n";
  for (const auto& section : sections)
    out += "<li><a href=\"#" + section.id + "\">" + escape_html(section.title) + "</a></li>\n";
  return out + "</ul></nav>\n";
}

// Nothing may be fetched: the policy makes the browser see to it.
constexpr const char* policy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";

}  // namespace

ReportFiles read_report_files(const std::string& folder) {
  ReportFiles files{.folder = folder};
  files.result = read_file(folder + "/result.json");
  if (std::filesystem::exists(folder + "/metrics.jsonl")) files.steps = read_file(folder + "/metrics.jsonl");
  if (std::filesystem::exists(folder + "/run.toml")) files.run_file = read_file(folder + "/run.toml");
  return files;
}

std::string render_report(const ReportFiles& files) {
  Record result = parse_result(files);
  Contents contents = contents_of(result, read_steps(files.steps));
  add_status(contents.summary, result);
  auto& sections = contents.sections;
  sections.push_back(model_section(part(result, "model")));
  sections.push_back(cost_section(result));
  sections.push_back(reproduction_section(files, result));

  std::string page = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  page += fmt::format("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n", policy);
  page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  page += "<meta name=\"color-scheme\" content=\"light dark\">\n";
  std::string heading = contents.title + ": " + std::filesystem::path(files.folder).filename().string();
  page += "<title>" + escape_html(heading) + "</title>\n<style>\n" + assets::page_css +
          "</style>\n</head>\n<body>\n";
  page += "<a class=\"skip\" href=\"#summary\">To the summary</a>\n<header><h1>" + escape_html(heading) +
          "</h1></header>\n" + navigation(sections) + "<main>\n";
  page += "<section id=\"summary\"><h2>In words</h2>\n" + bullet_list(contents.summary) + "</section>\n";
  for (const auto& section : sections)
    page += "<section id=\"" + section.id + "\"><h2>" + escape_html(section.title) + "</h2>\n" +
            section.body + "</section>\n";
  page += "</main>\n<footer>osculant " + escape_html(text(result, "version")) + "</footer>\n";
  page +=
      std::string("<script>") + assets::chart_js + "</script>\n<script>\n" + assets::page_js + "</script>\n";
  return page + "</body>\n</html>\n";
}

std::string write_report(const std::string& folder) {
  std::string path = folder + "/report.html";
  refuse_links(folder);
  write_file(path, render_report(read_report_files(folder)));
  return path;
}

}  // namespace osculant
