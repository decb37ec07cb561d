#include "osculant/study/result.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "osculant/base/error.h"
#include "osculant/comm/communicator.h"
#include "osculant/study/contestant_log.h"
#include "osculant/study/result_files.h"
#include "osculant/study/spectrum_fields.h"

namespace osculant {
namespace {

Json to_record(const ModelRecord& model) {
  Json layers = Json::array();
  for (const auto& layer : model.layers)
    layers.push_back({{"name", layer.name}, {"shape", layer.shape}, {"parameters", layer.parameters}});
  return {
      {"kind", model.kind}, {"parameters", model.parameters}, {"frozen", model.frozen}, {"layers", layers}};
}

Json to_record(const ObjectiveRecord& objective) {
  Json norms = Json::object();
  for (const auto& [name, norm] : objective.gradient_norms) norms[name] = norm;
  return {{"value", objective.value}, {"gradient_norm", objective.gradient_norm}, {"gradient_norms", norms}};
}

Json to_record(const LayerRatio& ratio) {
  return {{"value", ratio.value}, {"low", ratio.low}, {"high", ratio.high}, {"layers", ratio.layers}};
}

Json to_record(const GradientFlow& flow) {
  Json layers = Json::array();
  for (const auto& layer : flow.layers)
    layers.push_back({{"name", layer.name},
                      {"operation", layer.operation},
                      {"activation", layer.activation},
                      {"forward_variance", layer.forward_variance},
                      {"scale", layer.scale},
                      {"backward_norm", layer.backward_norm},
                      {"gradient_ratio", layer.gradient_ratio},
                      {"dead", layer.dead},
                      {"saturated", layer.saturated}});
  return {{"verdict", name_of(flow.verdict)},
          {"words", flow.words},
          {"examples", flow.examples},
          {"forward_ratio", to_record(flow.forward_ratio)},
          {"backward_ratio", to_record(flow.backward_ratio)},
          {"layers", layers},
          {"note", flow.note}};
}

Json to_record(const TrainingRecord& training) {
  Json final_values{
      {"loss", training.loss}, {"objective", training.objective}, {"metrics", training.metrics}};
  final_values["test"] = training.test.empty() ? Json(nullptr) : Json(training.test);
  Json record{{"method", training.method},
              {"stop", {{"reason", training.stop.reason}, {"message", training.stop.message}}},
              {"reached", training.reached ? Json(*training.reached) : Json(nullptr)},
              {"steps", training.steps},
              {"epochs", training.epochs},
              {"initial", {{"loss", training.initial_loss}}},
              {"final", final_values}};
  if (const auto& curvature = training.curvature)
    record["curvature"] = {
        {"verdict", curvature->verdict},     {"smallest", curvature->smallest},
        {"tolerance", curvature->tolerance}, {"failure_probability", curvature->failure_probability},
        {"products", curvature->products},   {"steps", curvature->steps},
        {"message", curvature->message}};
  if (training.watch) record["watch"] = json_from(*training.watch);
  return record;
}

Json to_record(const SpreadRecord& spread) {  // infinity, what was never reached, is null
  return {{"median", spread.median}, {"low", spread.low}, {"high", spread.high}};
}

Json to_record(const VerdictRecord& row) {
  return {{"method", row.method},
          {"tuned", row.tuned},
          {"runs", row.runs},
          {"reached", row.reached},
          {"failed", row.failed},
          {"seconds", to_record(row.seconds)},
          {"gradient_equivalents", to_record(row.gradient_equivalents)},
          {"value", to_record(row.value)}};
}

Json to_record(const std::vector<ContestantRecord>& contestants) {
  Json list = Json::array();
  for (const auto& contestant : contestants) list.push_back(Json::parse(to_json(contestant)));
  return list;
}

void add_comparison(Json& record, const ComparisonRecord& comparison) {
  record["race"] = {{"budget", comparison.budget},
                    {"target", comparison.target.empty() ? Json(nullptr) : Json(comparison.target)},
                    {"metric", comparison.metric},
                    {"seeds", comparison.seeds},
                    {"tune", comparison.tune},
                    {"tuning_share", comparison.tuning_share}};
  Json rows = Json::array();
  for (const auto& row : comparison.verdict) rows.push_back(to_record(row));
  record["verdict"] = {{"words", comparison.words}, {"methods", rows}};
  record["comparison"] = to_record(comparison.runs);
  record["tuning"] = to_record(comparison.trials);
}

Json to_record(const EvaluationRecord& evaluation) {
  Json record{
      {"parameters", evaluation.parameters}, {"loss", evaluation.loss}, {"metrics", evaluation.metrics}};
  record["test"] = evaluation.test.empty() ? Json(nullptr) : Json(evaluation.test);
  return record;
}

Json to_record(const CheckRecord& check) {
  Json layers = Json::array();
  for (const auto& layer : check.layers)
    layers.push_back({{"name", layer.name},
                      {"kind", layer.kind},
                      {"covered", layer.covered},
                      {"reason", layer.reason},
                      {"second_derivative", layer.second_derivative},
                      {"flops", layer.flops},
                      {"bytes", layer.bytes}});
  return {{"inputs", check.inputs},
          {"targets", check.targets},
          {"outputs", check.outputs},
          {"deterministic", check.deterministic},
          {"independent", check.independent},
          {"second_derivatives", check.second_derivatives},
          {"second_derivatives_message", check.second_derivatives_message},
          {"unused", check.unused},
          {"zero_gradient", check.zero_gradient},
          {"layers", layers}};
}

Json to_record(const PlanRecord& plan) {
  return {{"gradient_equivalents", plan.gradient_equivalents},
          {"seconds", plan.seconds},
          {"bytes", plan.bytes},
          {"budget", plan.budget},
          {"words", plan.words}};
}

}  // namespace

PartialAnalysis partial_analysis(const std::string& path) {
  std::ifstream in(path);
  if (!in) return {};
  try {
    Json record = Json::parse(in);
    PartialAnalysis partial;
    if (record.value("command", "") != "analyze") return {};
    require_known_schema(record.value("schema", std::nan("")), path);
    if (record.contains("spectrum")) JsonReader::read(record.at("spectrum"), partial.spectrum);
    partial.gradient_equivalents = record.at("cost").at("gradient_equivalents").get<double>();
    partial.seconds = record.at("cost").at("seconds").get<double>();
    return partial;
  } catch (const Json::exception& error) {
    fail_data(fmt::format("{}: damaged: {}", path, error.what()));
  }
}

std::string to_json(const Result& result) {
  Json record{{"schema", result_schema},
              {"command", result.command},
              {"version", version()},
              {"status", result.status}};
  record["model"] = to_record(result.model);
  record["data"] = {{"examples", result.data.examples}, {"test_examples", result.data.test_examples}};
  if (result.objective) record["objective"] = to_record(*result.objective);
  for (const auto& [matrix, spectrum] : result.spectrum) record["spectrum"][matrix] = json_from(spectrum);
  if (result.gradient_flow) record["diagnosis"]["gradient_flow"] = to_record(*result.gradient_flow);
  if (result.training) record["training"] = to_record(*result.training);
  if (result.comparison) add_comparison(record, *result.comparison);
  if (result.evaluation) record["evaluation"] = to_record(*result.evaluation);
  if (result.advice) record["advice"] = json_from(*result.advice);
  if (result.through) record["through"] = json_from(*result.through);
  if (result.check) record["check"] = to_record(*result.check);
  if (result.plan) record["plan"] = to_record(*result.plan);
  record["cost"] = {{"gradient_equivalents", result.cost.gradient_equivalents},
                    {"seconds", result.cost.seconds},
                    {"peak_bytes", result.cost.peak_bytes}};
  if (result.processes > 1)
    record["cost"]["communication"] = {{"processes", result.processes},
                                       {"reductions", result.traffic.calls},
                                       {"bytes", result.traffic.bytes},
                                       {"seconds", result.traffic.seconds}};
  if (!result.notes.empty()) record["notes"] = result.notes;
  // File and layer names may hold bytes that are no UTF-8.
  return record.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string version() {
  return OSCULANT_VERSION;
}

}  // namespace osculant
