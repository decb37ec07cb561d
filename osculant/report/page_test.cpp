#include "osculant/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/report/analysis_page.h"
#include "osculant/report/comparison_page.h"
#include "osculant/report/training_page.h"

namespace osculant {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

Record analysis() {
  return Record::parse(R"({"schema": 1, "command": "analyze", "version": "0.1.0", "status": "done",
    "model": {"parameters": 12345, "frozen": 0, "layers": [{"name": "<i>a</i>", "shape": [3, 4], "parameters": 12}]},
    "data": {"examples": 60}, "objective": {"value": 2.5, "gradient_norm": 0.5, "gradient_norms": {"<i>a</i>": 0.5}},
    "spectrum": {"hessian": {"largest": [{"value": 9.0, "residual": 1.0, "distance": 0.5}, {"value": 5.0, "residual": 1.0}],
      "smallest": [{"value": -3.0, "residual": 1.0}], "converged": true, "tolerance": 0.001, "stop": "converged",
      "miss_probability": 1e-6, "products": 40, "trace": {"value": 28.0, "low": 20.0, "high": 35.0, "probes": 30}}},
    "plan": {"gradient_equivalents": 60, "seconds": null, "bytes": 1024}, "cost": {"gradient_equivalents": 61, "seconds": 2.0, "peak_bytes": 2048}})");
}

TEST(AnalysisSummary, SaysWhatTheNumbersMean) {
  auto words = analysis_summary(analysis());
  EXPECT_THAT(words, Contains(HasSubstr("12,345 trainable parameters")));
  // 2 / (9 + 1): the bound's worst case
  EXPECT_THAT(words, Contains(HasSubstr("stable along it for learning rates below 0.2")));
  EXPECT_THAT(words, Contains(HasSubstr("an eigenvalue of -3 to within 1, 33 % of the largest in size")));
  // (9 + 5) of a trace in [20, 35]
  EXPECT_THAT(words, Contains(HasSubstr("they carry 40 to 70 % of it")));
  EXPECT_THAT(words, Contains(HasSubstr("probability at most 1.0e-06")));
}

TEST(AnalysisSummary, ClaimsNothingThatIsNotKnown) {
  Record result = analysis();
  Record& hessian = result["spectrum"]["hessian"];
  hessian["miss_probability"] = nullptr;
  hessian["smallest"][0] = {{"value", -0.5}, {"residual", 1.0}};
  auto words = analysis_summary(result);
  EXPECT_THAT(words, Contains(HasSubstr("No negative curvature beyond the error")));
  EXPECT_THAT(words, Contains(HasSubstr("is unknown")));
  EXPECT_THAT(words, Not(Contains(HasSubstr("probability at most"))));
}

TEST(AnalysisSummary, TellsTheRankWithItsInterval) {
  Record result = analysis();
  EXPECT_THAT(analysis_summary(result), Not(Contains(HasSubstr("rank"))));
  result["spectrum"]["hessian"]["rank"] =
      Record::parse(R"({"numerical": {"value": 40, "low": 35, "high": 44, "threshold": 1e-5},
    "stable": {"value": 1.002, "low": 1.002, "high": 1.002}, "effective": {"value": null}, "participation": {"value": 2, "low": 1.5, "high": 3},
    "rank_one": "yes", "upper_bound": null, "how": "from 10 probes"})");
  result["spectrum"]["hessian"]["density"] = Record::parse(
      R"({"width": 0.1, "grid": [0, 1, 2, 3], "density": [1, null, 0.5, 1e-20], "low": [0.5, null, 0.2, 0], "high": [2, null, 1, 1e-19],
        "wasserstein_error": 0.25})");
  auto words = analysis_summary(result);
  EXPECT_THAT(words, Contains(HasSubstr("40 (35 to 44) eigenvalues beyond 1e-05 of the largest in size")));
  EXPECT_THAT(words, Contains(HasSubstr("matrix of rank 1.002, exact")));
  EXPECT_THAT(words, Contains(HasSubstr("of rank one")));
  std::string page = render_report({.folder = "a", .result = result.dump()});
  EXPECT_THAT(page, HasSubstr("density-chart-hessian"));
  EXPECT_THAT(page, HasSubstr("\"y\":[1.0,null,0.5,null]"));
  EXPECT_THAT(page, HasSubstr("known to 0.25 in the Wasserstein distance"));
  EXPECT_THAT(page, HasSubstr("<td>effective</td><td>exp of the entropy of the eigenvalues&#39; "
                              "sizes</td><td class=\"number\">unknown</td>"));
}

TEST(Report, SparsityAndLowRankHaveAMapAndAChart) {
  Record result = analysis();
  Record& hessian = result["spectrum"]["hessian"];
  hessian["sparsity"] = Record::parse(R"({"structure": "block_diagonal", "words": "block diagonal: so it is",
    "layers": [{"name": "<i>0</i>"}, {"name": "2"}], "exact": false, "how": "30 products in each layer",
    "norms": [[{"value": 8, "low": 7, "high": 9}, {"value": 0.0008, "low": 0.0007, "high": 0.0009}],
              [{"value": 0.0008, "low": 0.0007, "high": 0.0009}, {"value": 0.8, "low": 0.8, "high": 0.8}]],
    "off_diagonal": {"value": 0.75, "low": 0.7, "high": 0.8},
    "beyond": [{"value": 0.001, "low": 0, "high": 0.002}, {"value": 0, "low": 0, "high": 0}],
    "scale": 2.0, "largest_high": null, "threshold": 0.001, "negligible": {"value": 0.5, "low": 0.4, "high": 0.6}, "columns": 60})");
  hessian["low_rank"] =
      Record::parse(R"({"wanted": 0.1, "frobenius": {"value": 8, "low": 7, "high": 9}, "methods": [
    {"method": "svd", "error": [], "words": "unknown", "note": "the matrix is formed up to n = 500"},
    {"method": "lanczos", "error": [{"value": 1, "low": 1, "high": 1}, {"value": 0.05, "low": 0.04, "high": 0.06}],
     "rank": {"low": 1, "high": 1}, "words": "1", "products": 0}]})");
  EXPECT_THAT(analysis_summary(result), Contains("By layers the Hessian is block diagonal: so it is."));
  EXPECT_THAT(analysis_summary(result),
              Contains(HasSubstr("within 0.1 of the Hessian's norm: 1 by lanczos.")));
  std::string page = render_report({.folder = "d", .result = result.dump()});
  for (const char* part :
       {"<th scope=\"row\">&lt;i&gt;0&lt;/i&gt;</th><td class=\"number heat-8\">8<small>7 to 9</small></td>",
        "<td class=\"number heat-0\">0.0008<small>", "<td class=\"number heat-6\">0.8</td>",
        "<td>each layer&#39;s own block</td><td class=\"number\">0.001 (0 to 0.002)</td>",
        "at most 0.002, 0.001 times the scale: 0.5 (0.4 to 0.6), seen in 60 columns",
        "between it and unknown", "id=\"low-rank-chart-hessian\"",
        "svd: unknown, the matrix is formed up to n = 500", "0.05 (0.04 to 0.06) at rank 1"})
    EXPECT_THAT(page, HasSubstr(part));
  hessian["low_rank"]["methods"][1]["rank"]["high"] = nullptr;
  EXPECT_THAT(analysis_summary(result), Contains(HasSubstr("No rank that was tried is known")));
}

TEST(Report, ChartsTablesAndNoMarkupFromNames) {
  std::string page =
      render_report({.folder = "runs/a<b", .result = analysis().dump(), .run_file = "x = \"</pre>\"\n"});
  for (const char* part :
       {"id=\"eigenvalues-hessian\"", "id=\"gradient-norms\"", "&lt;i&gt;a&lt;/i&gt;", "a&lt;b",
        "x = &quot;&lt;/pre&gt;&quot;", "Chart.js v", "default-src 'none'", "unknown"})
    EXPECT_THAT(page, HasSubstr(part));
  EXPECT_THAT(page, Not(HasSubstr("<i>a</i>")));
  EXPECT_LT(page.size(), 300'000u);
}

TEST(Report, GradientFlowHasItsWordsChartAndTable) {
  Record result = analysis();
  EXPECT_THAT(render_report({.folder = "d", .result = result.dump()}),
              Not(HasSubstr("id=\"gradient-flow\"")));
  result["diagnosis"]["gradient_flow"] =
      Record::parse(R"({"verdict": "dead_signal", "words": "Dead signal: so it is.",
    "forward_ratio": {"value": 0.02, "low": 0.01, "high": 0.04}, "backward_ratio": {"value": null, "low": null, "high": null},
    "layers": [{"name": "<b>0</b>", "operation": "conv2d", "activation": "relu", "forward_variance": 0.125,
                "backward_norm": 1e-9, "gradient_ratio": 0.5, "dead": 0.25, "saturated": null}]})");
  EXPECT_THAT(analysis_summary(result), Contains("Dead signal: so it is."));
  std::string page = render_report({.folder = "d", .result = result.dump()});
  for (const char* part :
       {"id=\"gradient-flow\"", "id=\"gradient-flow-chart\"", "&lt;b&gt;0&lt;/b&gt;", "conv2d, relu", "0.125",
        "25 %", "0.02, 95 % interval 0.01 to 0.04", "on the way back: unknown"})
    EXPECT_THAT(page, HasSubstr(part));
}

TEST(Report, RefusesWhatIsNoResult) {
  EXPECT_THAT(message_of([] { render_report({.folder = "d", .result = "{\"schema\": 2}"}); }),
              HasSubstr("d/result.json: expected a result of schema 1"));
  EXPECT_THAT(message_of([] { read_report_files("/nowhere"); }), HasSubstr("/nowhere/result.json"));
}

TEST(TrainingSummary, CountsStepsAndRejections) {
  std::string lines;
  for (int i = 1; i <= 100; ++i)
    lines += "{\"step\":" + std::to_string(i) + ",\"accepted\":" + (i % 10 == 0 ? "false" : "true") + "}\n";
  lines += "{\"step\":101,\"acc";
  StepLog log = read_steps(lines, 20);
  EXPECT_EQ(log.steps, 101u);
  EXPECT_EQ(log.rejected, 10u);
  EXPECT_LE(log.kept.size(), 25u);
  EXPECT_EQ(log.kept.front()["step"], 1);
  EXPECT_EQ(log.kept.back()["step"], 100);
  Record result =
      Record::parse(R"({"training": {"method": "adam", "steps": 101, "epochs": 2, "reached": false,
    "stop": {"message": "101 of 101 steps made"}, "initial": {"loss": 2.0}, "final": {"loss": 1.0, "test": {"loss": 1.5}}}})");
  auto words = training_summary(result, log);
  EXPECT_THAT(words, Contains("adam brought the loss from 2 to 1 in 101 steps (2 epochs)."));
  EXPECT_THAT(words, Contains(HasSubstr("10 of 101 steps were rejected")));
  EXPECT_THAT(words, Contains("The target was not reached."));
  EXPECT_THAT(words, Contains(HasSubstr("a minimum is unknown")));
}

TEST(ComparisonSummary, SaysWhenTheOrderIsNotSettled) {
  Record result =
      Record::parse(R"({"race": {"target": "loss <= 1"}, "verdict": {"words": "a is first.", "methods": [
    {"method": "a", "gradient_equivalents": {"median": 3, "low": 2, "high": 6}},
    {"method": "b", "gradient_equivalents": {"median": 7, "low": 5, "high": 9}}]}})");
  EXPECT_THAT(comparison_summary(result), Contains(HasSubstr("ranges of a and b overlap")));
  result["verdict"]["methods"][0]["gradient_equivalents"]["high"] = 4;
  EXPECT_THAT(comparison_summary(result), Not(Contains(HasSubstr("overlap"))));
  result["verdict"]["methods"][0]["gradient_equivalents"]["high"] = nullptr;  // a seed never got there
  EXPECT_THAT(comparison_summary(result), Contains(HasSubstr("overlap")));
}

}  // namespace
}  // namespace osculant
