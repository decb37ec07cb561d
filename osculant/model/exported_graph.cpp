#include "osculant/model/exported_graph.h"

#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <fmt/format.h>

#include <regex>

#include "osculant/base/error.h"
#include "osculant/model/exported_archive.h"
#include "osculant/model/exported_json.h"

namespace osculant::exported {
namespace {

constexpr int64_t schema_major = 8;  // torch/_export/serde/schema.py, SCHEMA_VERSION
constexpr int max_graph_depth = 16;

using Kind = Argument::Kind;

Graph parse_graph(const json& source, const std::string& where, int depth);

Argument named(const json& value, const char* key, const std::string& where) {
  return {.kind = Kind::value, .text = string_member(value, key, where)};
}

Argument integer_like(Kind kind, int64_t value) {
  return {.kind = kind, .integer = value};
}

int64_t layout_of(int64_t code, const std::string& where) {
  if (code != 7) fail_data(fmt::format("{}: layout {}: only strided tensors are supported", where, code));
  return static_cast<int64_t>(at::Layout::Strided);
}

int64_t memory_format_of(int64_t code, const std::string& where) {
  switch (code) {
    case 1:
      return static_cast<int64_t>(at::MemoryFormat::Contiguous);
    case 2:
      return static_cast<int64_t>(at::MemoryFormat::ChannelsLast);
    case 3:
      return static_cast<int64_t>(at::MemoryFormat::ChannelsLast3d);
    case 4:
      return static_cast<int64_t>(at::MemoryFormat::Preserve);
    default:
      fail_data(fmt::format("{}: memory format {}: not known", where, code));
  }
}

template <class Parse>
Argument list_of(const json& values, const std::string& where, Parse parse) {
  if (!values.is_array()) fail_data(fmt::format("{}: must be a list", where));
  Argument list{.kind = Kind::list};
  for (size_t i = 0; i < values.size(); ++i)
    list.items.push_back(parse(values[i], fmt::format("{}[{}]", where, i)));
  return list;
}

Argument parse_integer(const json& value, const std::string& where) {
  return integer_like(Kind::integer, as_integer(value, where));
}
Argument parse_number(const json& value, const std::string& where) {
  return {.kind = Kind::number, .number = as_number(value, where)};
}
Argument parse_boolean(const json& value, const std::string& where) {
  return integer_like(Kind::boolean, as_boolean(value, where));
}
Argument parse_tensor(const json& value, const std::string& where) {
  return named(value, "name", where);
}

// A symbolic number: a name, or a plain one.
Argument parse_symbolic(const json& value, const std::string& where) {
  auto [key, inner] = only_member(value, where);
  if (key == "as_name") return {.kind = Kind::value, .text = as_string(*inner, where)};
  if (key == "as_int") return parse_integer(*inner, where);
  if (key == "as_float") return parse_number(*inner, where);
  if (key == "as_bool") return parse_boolean(*inner, where);
  fail_data(fmt::format("{}: symbolic number of kind {}: not supported", where, key));
}

Argument parse_optional_tensor(const json& value, const std::string& where) {
  auto [key, inner] = only_member(value, where);
  return key == "as_none" ? Argument{} : parse_tensor(*inner, where);
}

Argument parse_argument(const json& source, const std::string& where, int depth) {
  auto [key, value] = only_member(source, where);
  const json& v = *value;
  if (key == "as_none") return {};
  if (key == "as_tensor") return parse_tensor(v, where);
  if (key == "as_tensors") return list_of(v, where, parse_tensor);
  if (key == "as_optional_tensor") return parse_optional_tensor(v, where);
  if (key == "as_optional_tensors") return list_of(v, where, parse_optional_tensor);
  if (key == "as_int") return parse_integer(v, where);
  if (key == "as_ints") return list_of(v, where, parse_integer);
  if (key == "as_float") return parse_number(v, where);
  if (key == "as_floats") return list_of(v, where, parse_number);
  if (key == "as_bool") return parse_boolean(v, where);
  if (key == "as_bools") return list_of(v, where, parse_boolean);
  if (key == "as_sym_int" || key == "as_sym_float" || key == "as_sym_bool") return parse_symbolic(v, where);
  if (key == "as_sym_ints" || key == "as_sym_floats" || key == "as_sym_bools")
    return list_of(v, where, parse_symbolic);
  if (key == "as_string") return {.kind = Kind::string, .text = as_string(v, where)};
  if (key == "as_scalar_type")
    return integer_like(Kind::scalar_type, static_cast<int64_t>(scalar_type_of(as_integer(v, where))));
  if (key == "as_layout") return integer_like(Kind::layout, layout_of(as_integer(v, where), where));
  if (key == "as_memory_format")
    return integer_like(Kind::memory_format, memory_format_of(as_integer(v, where), where));
  if (key == "as_device") return {.kind = Kind::device};
  if (key == "as_graph")
    return {
        .kind = Kind::graph,
        .text = string_member(v, "name", where),
        .graph = std::make_shared<Graph>(parse_graph(object_member(v, "graph", where), where, depth + 1))};
  fail_data(fmt::format("{}: argument of kind {}: not supported", where, key));
}

Node parse_node(const json& source, const std::string& where, int depth) {
  Node node;
  node.target = string_member(source, "target", where);
  if (auto name = source.find("name"); name != source.end() && name->is_string())
    node.name = name->get<std::string>();
  const auto at_node = fmt::format("{} ({} {})", where, node.name, node.target);
  for (const auto& input : array_member(source, "inputs", at_node)) {
    auto name = string_member(input, "name", at_node);
    node.inputs.emplace_back(name,
                             parse_argument(member(input, "arg", at_node), at_node + "." + name, depth));
  }
  for (const auto& output : array_member(source, "outputs", at_node))
    node.outputs.push_back(parse_argument(output, at_node + ".outputs", depth));
  if (node.name.empty())
    node.name = !node.outputs.empty() && node.outputs[0].kind == Kind::value ? node.outputs[0].text : where;
  return node;
}

Dimension parse_dimension(const json& source, const std::string& where) {
  auto [key, value] = only_member(source, where);
  if (key == "as_int") return {.fixed = as_integer(*value, where)};
  static const std::regex bare_symbol("Symbol\\('([A-Za-z0-9_]{1,64})'[^()]{0,200}\\)");
  auto expression = string_member(*value, "expr_str", where);
  std::smatch match;
  if (expression.size() < 400 && std::regex_match(expression, match, bare_symbol))
    return {.fixed = {}, .symbol = match[1]};
  return {};
}

TensorMeta parse_meta(const json& source, const std::string& where) {
  TensorMeta meta;
  meta.dtype = scalar_type_of(integer_member(source, "dtype", where));
  for (const auto& size : array_member(source, "sizes", where))
    meta.sizes.push_back(parse_dimension(size, where));
  return meta;
}

std::vector<Argument> parse_arguments(const json& list, const std::string& where, int depth) {
  std::vector<Argument> arguments;
  for (const auto& item : list) arguments.push_back(parse_argument(item, where, depth));
  return arguments;
}

Graph parse_graph(const json& source, const std::string& where, int depth) {
  if (depth > max_graph_depth)
    fail_data(fmt::format("{}: graphs nested deeper than {}", where, max_graph_depth));
  Graph graph;
  graph.inputs = parse_arguments(array_member(source, "inputs", where), where + ".inputs", depth);
  graph.outputs = parse_arguments(array_member(source, "outputs", where), where + ".outputs", depth);
  const auto& nodes = array_member(source, "nodes", where);
  for (size_t i = 0; i < nodes.size(); ++i)
    graph.nodes.push_back(parse_node(nodes[i], fmt::format("{}.nodes[{}]", where, i), depth));
  for (const auto& [name, meta] : object_member(source, "tensor_values", where).items())
    graph.tensors.emplace(name, parse_meta(meta, fmt::format("{}.tensor_values.{}", where, name)));
  return graph;
}

std::string tensor_name(const json& spec, const std::string& where) {
  return string_member(object_member(spec, "arg", where), "name", where);
}

InputSpec parse_input_spec(const json& source, const std::string& where) {
  auto [key, value] = only_member(source, where);
  const json& spec = *value;
  using Input = InputSpec::Kind;
  if (key == "parameter")
    return {
        Input::parameter, tensor_name(spec, where), string_member(spec, "parameter_name", where), true, {}};
  if (key == "buffer")
    return {Input::buffer,
            tensor_name(spec, where),
            string_member(spec, "buffer_name", where),
            as_boolean(member(spec, "persistent", where), where),
            {}};
  if (key == "tensor_constant")
    return {Input::constant,
            tensor_name(spec, where),
            string_member(spec, "tensor_constant_name", where),
            true,
            {}};
  if (key == "constant_input")
    return {Input::number, string_member(spec, "name", where), "", true,
            parse_argument(object_member(spec, "value", where), where, 0)};
  if (key != "user_input") fail_data(fmt::format("{}: input of kind {}: not supported", where, key));
  auto argument = parse_argument(member(spec, "arg", where), where, 0);
  if (argument.kind == Kind::value) return {Input::user, argument.text, "", true, {}};
  return {Input::number, "", "", true, argument};
}

OutputSpec parse_output_spec(const json& source, const std::string& where) {
  auto [key, value] = only_member(source, where);
  using Output = OutputSpec::Kind;
  if (key == "user_output") {
    auto argument = parse_argument(member(*value, "arg", where), where, 0);
    if (argument.kind == Kind::none) return {Output::ignored, {}, ""};
    if (argument.kind != Kind::value)
      fail_data(
          fmt::format("{}: an output that is not a tensor: not supported; return tensors alone", where));
    return {Output::user, argument, ""};
  }
  if (key == "loss_output")
    return {Output::user, {.kind = Kind::value, .text = tensor_name(*value, where)}, ""};
  if (key == "buffer_mutation")
    return {Output::buffer_mutation,
            {.kind = Kind::value, .text = tensor_name(*value, where)},
            string_member(*value, "buffer_name", where)};
  if (key == "user_input_mutation") return {Output::ignored, {}, ""};
  fail_data(fmt::format("{}: output of kind {}: not supported", where, key));
}

std::map<std::string, Range> parse_ranges(const json& source, const std::string& where) {
  std::map<std::string, Range> ranges;
  for (const auto& [symbol, limits] : source.items()) {
    Range range;
    if (auto low = limits.find("min_val"); low != limits.end() && low->is_number_integer())
      range.low = as_integer(*low, where);
    if (auto high = limits.find("max_val"); high != limits.end() && high->is_number_integer())
      range.high = as_integer(*high, where);
    ranges.emplace(symbol, range);
  }
  return ranges;
}

void check_version(const json& document, const std::string& file) {
  auto major = integer_member(object_member(document, "schema_version", file), "major", file);
  if (major == schema_major) return;
  auto writer = document.find("torch_version");
  fail_data(fmt::format(
      "{}: written by torch {} with version {} of the export schema; this build reads version {}: "
      "export it again with torch 2.9 to 2.13",
      file, writer != document.end() && writer->is_string() ? writer->get<std::string>() : "?", major,
      schema_major));
}

}  // namespace

ProgramGraph parse_program(const std::string& model_json, const std::string& file) {
  const auto document = parse_json(model_json, file + ": models/model.json");
  check_version(document, file);
  const auto where = file + ": graph";
  const auto& graph_module = object_member(document, "graph_module", file);
  ProgramGraph program;
  program.graph = parse_graph(object_member(graph_module, "graph", where), where, 0);
  const auto& signature = object_member(graph_module, "signature", file);
  for (const auto& spec : array_member(signature, "input_specs", where))
    program.inputs.push_back(parse_input_spec(spec, where + ".input_specs"));
  for (const auto& spec : array_member(signature, "output_specs", where))
    program.outputs.push_back(parse_output_spec(spec, where + ".output_specs"));
  program.ranges = parse_ranges(object_member(document, "range_constraints", file), where);
  return program;
}

}  // namespace osculant::exported
