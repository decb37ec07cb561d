#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace osculant::exported {

// The graph of an exported program as typed nodes: what models/model.json says, checked, and nothing more.
// The names of things are those of torch/_export/serde/schema.py.

struct Graph;

struct Argument {
  enum class Kind {
    none,
    value,    // a tensor or symbolic number computed before: `text` is its name
    boolean,  // `integer` is 0 or 1
    integer,
    number,
    string,
    scalar_type,    // `integer` is an at::ScalarType
    layout,         // `integer` is an at::Layout
    memory_format,  // `integer` is an at::MemoryFormat
    device,         // where the program was exported; the run's own takes its place
    list,
    graph,  // of a higher-order operator
  };
  Kind kind = Kind::none;
  std::string text = {};
  int64_t integer = 0;
  double number = 0;
  std::vector<Argument> items = {};
  std::shared_ptr<Graph> graph = {};
};

struct Node {
  std::string name;
  std::string target;  // "torch.ops.aten.linear.default", "_operator.mul", ...
  std::vector<std::pair<std::string, Argument>> inputs;
  std::vector<Argument> outputs;  // values, lists of values, or none
};

// A size of a tensor: a number, a symbol such as s77, or an expression of symbols (neither).
struct Dimension {
  std::optional<int64_t> fixed = {};
  std::string symbol = {};
};

struct TensorMeta {
  at::ScalarType dtype = at::ScalarType::Float;
  std::vector<Dimension> sizes;
};

struct Graph {
  std::vector<Argument> inputs, outputs;
  std::vector<Node> nodes;
  std::unordered_map<std::string, TensorMeta> tensors;
};

struct InputSpec {
  enum class Kind { user, parameter, buffer, constant, number };
  Kind kind = Kind::user;
  std::string value;       // its name in the graph
  std::string target;      // of a parameter, buffer or constant: its name in the weights
  bool persistent = true;  // of a buffer: saved with the weights
  Argument number;         // of a number: what it is
};

struct OutputSpec {
  enum class Kind { user, buffer_mutation, ignored };
  Kind kind = Kind::user;
  Argument value;
  std::string target;  // the buffer that is updated
};

struct Range {
  int64_t low = 0;
  int64_t high = INT64_MAX;
};

struct ProgramGraph {
  Graph graph;
  std::vector<InputSpec> inputs;
  std::vector<OutputSpec> outputs;
  std::map<std::string, Range> ranges;  // of symbols
};

// Throws Error(data), beginning with `file`, when the text is not a program of a schema that this version
// reads.
ProgramGraph parse_program(const std::string& model_json, const std::string& file);

}  // namespace osculant::exported
