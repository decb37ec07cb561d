#pragma once

#include <string>

namespace osculant {

// What a command left in its folder, as text. Only result.json must be there.
struct ReportFiles {
  std::string folder = {};    // as the reader knows it, for the heading
  std::string result = {};    // result.json
  std::string steps = {};     // metrics.jsonl
  std::string run_file = {};  // run.toml
};

// Throws Error(data) naming the file that is missing.
ReportFiles read_report_files(const std::string& folder);

// One HTML page that needs no other file and no network: a summary in words, tables, charts (Chart.js,
// embedded with its licence), the run file and how to reproduce the result. Throws Error(data) where
// result.json is not one of this library's.
std::string render_report(const ReportFiles& files);

// report.html into the folder; its path.
std::string write_report(const std::string& folder);

}  // namespace osculant
