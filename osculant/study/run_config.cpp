#include "osculant/study/run_config.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

// A value and where it came from. From a shell, quotes and brackets may be missing.
struct Given {
  const toml::node& node;
  std::string raw;  // as typed in a shell; empty for a run file
  bool shell = false;
};

std::string toml_text(const toml::node& node) {
  std::ostringstream out;
  out << toml::toml_formatter(node, toml::format_flags::none);
  return out.str();
}

std::string quoted(const std::string& text) {
  return toml_text(toml::value<std::string>(text));
}

std::string shown(const Given& given) {
  return given.shell ? given.raw : toml_text(given.node);
}

// What was expected, when a value is not that.
struct NotMeant {};

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

// Conversions of one TOML node; a shell's text has been parsed as TOML where it can be.

std::string as_text(const Given& given) {
  if (auto text = given.node.value_exact<std::string>()) return *text;
  if (given.shell) return given.raw;
  throw NotMeant{};
}

int64_t as_integer(const toml::node& node) {
  if (auto value = node.value_exact<int64_t>()) return *value;
  throw NotMeant{};
}

double as_number(const toml::node& node) {
  if (auto value = node.value_exact<double>()) return *value;
  if (auto value = node.value_exact<int64_t>()) return static_cast<double>(*value);
  throw NotMeant{};
}

bool as_flag(const toml::node& node) {
  if (auto value = node.value_exact<bool>()) return *value;
  throw NotMeant{};
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    size_t begin = part.find_first_not_of(' ');
    if (begin != std::string::npos)
      parts.push_back(part.substr(begin, part.find_last_not_of(' ') - begin + 1));
  }
  return parts;
}

// An array of anything, or, from a shell, "a,b,c".
template <class Function>
auto as_list(const Given& given, Function convert) {
  std::vector<decltype(convert(Given{given.node, "", false}))> list;
  if (const auto* array = given.node.as_array()) {
    for (const auto& entry : *array) list.push_back(convert(Given{entry, "", false}));
    return list;
  }
  if (!given.shell) throw NotMeant{};
  for (const auto& part : split_at_commas(as_text(given))) {
    toml::table parsed;
    try {
      parsed = toml::parse("value = " + part);
    } catch (const toml::parse_error&) {
      parsed = toml::table{{"value", part}};
    }
    list.push_back(convert(Given{*parsed.get("value"), part, true}));
  }
  return list;
}

// One row of the table of keys: how its value is read and written.
struct Key {
  std::string name;
  std::string expected;
  std::function<void(RunConfig&, const Given&)> read;
  std::function<std::string(const RunConfig&)> write;  // TOML, or "" where there is no value
  std::string example;
  std::string words;
};

// Access to a member of a section: at(&RunConfig::train, &TrainConfig::steps).
template <class Section, class T>
auto at(Section RunConfig::*section, T Section::*member) {
  return [=](auto& config) -> auto& {
    return config.*section.*member;
  };
}

template <class Access>
Key text(std::string name, Access access, std::string expected, std::string example, std::string words,
         std::vector<std::string> choices = {}) {
  if (!choices.empty())
    expected = choices.size() == 1 ? choices[0] : fmt::format("one of {}", fmt::join(choices, ", "));
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            std::string value = as_text(given);
            bool known = choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end();
            if (value.empty() || !known) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const std::string& value = access(config);
            return value.empty() ? "" : quoted(value);
          },
          example,
          words};
}

// A number of examples or bytes, or a word or size in quotes.
template <class Access, class Check>
Key number_or_text(std::string name, Access access, std::string expected, Check valid, std::string example,
                   std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto number = given.node.value_exact<int64_t>();
            std::string value = number ? std::to_string(*number) : as_text(given);
            if (!valid(value)) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const std::string& value = access(config);
            bool digits = value.find_first_not_of("0123456789") == std::string::npos;
            return value.empty() || digits ? value : quoted(value);
          },
          example,
          words};
}

template <class Access>
Key integer(std::string name, Access access, int64_t minimum, std::string example, std::string words) {
  return {name,
          fmt::format("an integer >= {}", minimum),
          [=](RunConfig& config, const Given& given) {
            int64_t value = as_integer(given.node);
            if (value < minimum) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const auto& value = access(config);
            return value ? std::to_string(*value) : "";
          },
          example,
          words};
}

template <class Access, class Check>
Key number(std::string name, Access access, std::string expected, Check valid, std::string example,
           std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            double value = as_number(given.node);
            if (!valid(value)) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const auto& value = access(config);
            return value ? number_text(*value) : "";
          },
          example,
          words};
}

template <class Access>
Key flag(std::string name, Access access, std::string words) {
  return {name,
          "true or false",
          [=](RunConfig& config, const Given& given) { access(config) = as_flag(given.node); },
          [=](const RunConfig& config) {
            const auto& value = access(config);
            return value ? (*value ? "true" : "false") : "";
          },
          "true",
          words};
}

template <class Access>
Key texts(std::string name, Access access, std::string expected, std::string example, std::string words,
          std::vector<std::string> choices = {}) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto list = as_list(given, [](const Given& entry) { return as_text(entry); });
            for (const auto& entry : list)
              if (!choices.empty() && std::find(choices.begin(), choices.end(), entry) == choices.end())
                throw NotMeant{};
            access(config) = list;
          },
          [=](const RunConfig& config) {
            std::vector<std::string> quoted_entries;
            for (const auto& entry : access(config)) quoted_entries.push_back(quoted(entry));
            return quoted_entries.empty() ? "" : fmt::format("[{}]", fmt::join(quoted_entries, ", "));
          },
          example,
          words};
}

template <class Access>
Key integers(std::string name, Access access, std::string expected, std::string example, std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto list = as_list(given, [](const Given& entry) { return as_integer(entry.node); });
            if (list.empty() || *std::min_element(list.begin(), list.end()) < 1) throw NotMeant{};
            access(config) = list;
          },
          [=](const RunConfig& config) {
            const auto& list = access(config);
            return list.empty() ? "" : fmt::format("[{}]", fmt::join(list, ", "));
          },
          example,
          words};
}

template <class Access>
Key numbers(std::string name, Access access, std::string expected, std::string example, std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto list = as_list(given, [](const Given& entry) { return as_number(entry.node); });
            if (list.empty() || !(*std::min_element(list.begin(), list.end()) >= 0)) throw NotMeant{};
            access(config) = list;
          },
          [=](const RunConfig& config) {
            std::vector<std::string> entries;
            for (double value : access(config)) entries.push_back(number_text(value));
            return entries.empty() ? "" : fmt::format("[{}]", fmt::join(entries, ", "));
          },
          example,
          words};
}

OptionValue option_value(const Given& given) {
  if (auto value = given.node.value_exact<bool>()) return *value;
  if (auto value = given.node.value_exact<int64_t>()) return static_cast<double>(*value);
  if (auto value = given.node.value_exact<double>()) return *value;
  return as_text(given);
}

std::string option_text(const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return number_text(std::get<double>(value));
}

template <class Access>
Key option_table(std::string name, Access access, std::string example, std::string words) {
  return {name,
          "a table such as { learning_rate = 1e-3 }",
          [=](RunConfig& config, const Given& given) {
            const toml::table* table = given.node.as_table();
            if (table == nullptr) throw NotMeant{};
            for (const auto& [option, value] : *table)
              access(config)[std::string(option.str())] = option_value(Given{value, "", false});
          },
          [=](const RunConfig& config) {
            std::vector<std::string> entries;
            for (const auto& [option, value] : access(config))
              entries.push_back(option + " = " + option_text(value));
            return entries.empty() ? "" : fmt::format("{{ {} }}", fmt::join(entries, ", "));
          },
          example,
          words};
}

bool is_batch_size(const std::string& value) {
  return value == "full" || (!value.empty() && value.size() < 12 && value != "0" && value[0] != '0' &&
                             value.find_first_not_of("0123456789") == std::string::npos);
}

bool is_memory_budget(const std::string& value) {
  if (value == "half") return true;
  try {
    return parse_bytes("run.memory_budget", value) > 0;
  } catch (const Error&) {
    return false;
  }
}

bool is_budget(const std::string& value) {
  char* end = nullptr;
  double amount = std::strtod(value.c_str(), &end);
  std::string unit(end);
  return end != value.c_str() && amount > 0 && (unit == "s" || unit == "ge");
}

bool positive(double value) {
  return value > 0;
}
bool non_negative(double value) {
  return value >= 0;
}
bool probability(double value) {
  return value >= 0 && value <= 1;
}

std::vector<Key> model_keys() {
  using M = ModelConfig;
  const auto model = &RunConfig::model;
  return {
      text("model.kind", at(model, &M::kind), "", "\"mlp\"",
           "what network: a program exported from Python, or one built here",
           {"exported", "mlp", "autoencoder", "cnn"}),
      text("model.path", at(model, &M::path), "a file name", "\"m.pt2\"",
           "the exported program (torch.export.save)"),
      integers(
          "model.widths", at(model, &M::widths), "a list of integers >= 1", "[784, 256, 128, 10]",
          "mlp: units of each layer, inputs first, outputs last; autoencoder: inputs first, the code last"),
      text("model.activation", at(model, &M::activation), "the name of an activation", "\"relu\"",
           "between the layers"),
      integers("model.input", at(model, &M::input), "a list of three integers >= 1", "[1, 28, 28]",
               "cnn: channels, height and width of an image"),
      integers("model.filters", at(model, &M::filters), "a list of integers >= 1", "[16, 32]",
               "cnn: channels of each convolution"),
      integer("model.hidden", at(model, &M::hidden), 1, "64", "cnn: units of the hidden layer"),
      integer("model.outputs", at(model, &M::outputs), 1, "10", "cnn: outputs"),
      flag("model.batch_norm", at(model, &M::batch_norm), "cnn: batch normalisation after each convolution"),
      text("model.initialization", at(model, &M::initialization), "the name of an initialisation",
           "\"torch_default\"", "torch_default, xavier, he, orthogonal, scaled"),
      number("model.weight_variance", at(model, &M::weight_variance), "a number > 0", positive, "1.0",
             "scaled: variance of a weight times the inputs of its unit"),
      number("model.bias_variance", at(model, &M::bias_variance), "a number >= 0", non_negative, "0.0",
             "scaled: variance of a bias"),
      flag("model.bias", at(model, &M::bias), "whether layers have biases"),
      texts("model.freeze", at(model, &M::freeze), "a list of names with * and ?", "[\"features.*\"]",
            "parameters that are not trained and not analysed, by name"),
      text("model.parameters", at(model, &M::parameters), "a file name", "\"parameters.safetensors\"",
           "weights to start from"),
      text("model.mode", at(model, &M::mode), "", "\"eval\"",
           "how dropout and batch norm behave; left out: eval for analysis, train for training",
           {"eval", "train"}),
  };
}

std::vector<Key> data_keys() {
  using D = DataConfig;
  const auto data = &RunConfig::data;
  return {
      text("data.kind", at(data, &D::kind), "", "\"fashion_mnist\"", "where examples come from",
           {"safetensors", "fashion_mnist", "idx", "teacher", "mixture", "sine", "sinc", "parity"}),
      text("data.path", at(data, &D::path), "a file name", "\"train.safetensors\"",
           "safetensors: inputs and targets; idx: images; fashion_mnist: its folder"),
      text("data.labels", at(data, &D::labels), "a file name", "\"labels.gz\"", "idx: the file of labels"),
      text("data.test", at(data, &D::test), "\"split\" or a file name", "\"split\"",
           "test data: \"split\" is the data set's own; a file; none if left out"),
      text("data.test_labels", at(data, &D::test_labels), "a file name", "\"test-labels.gz\"",
           "idx: the labels of the test file"),
      number("data.scale", at(data, &D::scale), "a number > 0", positive, "255.0",
             "inputs are divided by this"),
      flag("data.normalize", at(data, &D::normalize),
           "inputs to mean 0 and standard deviation 1 over the training set"),
      integer("data.average_pool", at(data, &D::average_pool), 1, "2", "images: means of 2 x 2 pixels"),
      flag("data.flatten", at(data, &D::flatten),
           "inputs to one vector an example; left out: where the network needs it"),
      flag("data.autoencode", at(data, &D::autoencode), "targets are the inputs"),
      flag("data.shuffle", at(data, &D::shuffle), "shuffle by the run's seed before taking examples"),
      integer("data.take", at(data, &D::take), 1, "5000", "only the first so many training examples"),
      integer("data.test_take", at(data, &D::test_take), 1, "1000", "only the first so many test examples"),
      number("data.test_share", at(data, &D::test_share), "a number between 0 and 1", probability, "0.2",
             "test = \"split\": this share of the examples, the last ones"),
      integer("data.examples", at(data, &D::examples), 1, "1000",
              "teacher, mixture, sine, sinc: examples made"),
      integer("data.inputs", at(data, &D::inputs), 1, "10", "teacher, mixture, parity: inputs of an example"),
      integer("data.outputs", at(data, &D::outputs), 1, "1", "teacher: outputs; mixture: classes"),
      integer("data.hidden", at(data, &D::hidden), 1, "20", "teacher: its hidden units"),
      number("data.noise", at(data, &D::noise), "a number >= 0", non_negative, "0.0",
             "teacher: standard deviation of the noise added"),
      number("data.separation", at(data, &D::separation), "a number >= 0", non_negative, "2.0",
             "mixture: distance of the classes"),
  };
}

std::vector<Key> loss_keys() {
  using L = LossConfig;
  const auto loss = &RunConfig::loss;
  return {
      text("loss.kind", at(loss, &L::kind), "", "\"cross_entropy\"", "what is minimised",
           {"mse", "cross_entropy", "binary_cross_entropy", "huber", "poisson"}),
      text("loss.outputs", at(loss, &L::outputs), "", "\"mean\"",
           "mean over an example's outputs, as torch has it, or their sum", {"mean", "sum"}),
      number("loss.label_smoothing", at(loss, &L::label_smoothing), "a number between 0 and 1", probability,
             "0.1", "cross_entropy"),
      numbers("loss.class_weights", at(loss, &L::class_weights), "a list of numbers >= 0", "[1.0, 2.0]",
              "cross_entropy: one a class"),
      number("loss.delta", at(loss, &L::delta), "a number > 0", positive, "1.0",
             "huber: where it turns linear"),
      texts("metrics.names", [](auto& config) -> auto& { return config.metrics; },
            "a list of accuracy, squared_error, relative_l2", "[\"accuracy\"]",
            "measured beside the loss, on training and test data",
            {"accuracy", "squared_error", "relative_l2"}),
  };
}

std::vector<Key> train_keys() {
  using T = TrainConfig;
  const auto train = &RunConfig::train;
  return {
      text("train.method", at(train, &T::method), "the name of a method (osculant methods)",
           "\"hessian_free\"", "see: osculant methods"),
      number_or_text("train.batch_size", at(train, &T::batch_size), "an integer >= 1 or \"full\"",
                     is_batch_size, "256",
                     "examples a step; left out: 256, or all of them when there are no more than 2,048"),
      integer("train.steps", at(train, &T::steps), 1, "1000", "stop after so many steps"),
      integer("train.epochs", at(train, &T::epochs), 1, "10", "stop after so many passes over the data"),
      number_or_text("train.budget", at(train, &T::budget),
                     "seconds as \"60s\" or gradient equivalents as \"500ge\"", is_budget, "\"60s\"",
                     "stop after so much time or work"),
      text("train.target", at(train, &T::target), "a comparison such as \"loss<=1e-4\"",
           "\"test.accuracy>=0.88\"", "stop when reached"),
      integer("train.evaluate_every", at(train, &T::evaluate_every), 1, "100",
              "steps between evaluations of the whole objective; left out: an epoch"),
      integer("train.checkpoint_every", at(train, &T::checkpoint_every), 1, "1000",
              "steps between checkpoints; left out: 30 s of work"),
      option_table("train.options", at(train, &T::options), "{ learning_rate = 1e-3 }",
                   "of the method: osculant methods NAME"),
  };
}

std::vector<Key> analyze_and_run_keys() {
  using A = AnalyzeConfig;
  using R = RunSettings;
  const auto analyze = &RunConfig::analyze;
  const auto run = &RunConfig::run;
  return {
      integer("analyze.eigenvalues", at(analyze, &A::eigenvalues), 0, "10",
              "so many at each end of the spectrum"),
      texts("analyze.matrix", at(analyze, &A::matrix), "a list of hessian, gauss_newton", "[\"hessian\"]",
            "which curvature matrices", {"hessian", "gauss_newton"}),
      number_or_text("analyze.batch_size", at(analyze, &A::batch_size), "an integer >= 1 or \"full\"",
                     is_batch_size, "1024",
                     "examples worked on at a time; all the data counts, whatever this is"),
      number("analyze.tolerance", at(analyze, &A::tolerance), "a number > 0", positive, "1e-3",
             "eigenvalues: residual wanted, relative to the largest in magnitude"),
      integer("analyze.trace_probes", at(analyze, &A::trace_probes), 2, "100",
              "most products spent on the trace"),
      integer("run.seed", at(run, &R::seed), 0, "0", "of everything random"),
      text("run.dtype", at(run, &R::dtype), "", "\"float32\"", "of parameters, inputs and curvature",
           {"float32", "float64"}),
      text("run.device", at(run, &R::device), "a device such as cpu or cuda:0", "\"cpu\"",
           "cpu, cuda, cuda:1"),
      integer("run.threads", at(run, &R::threads), 0, "0", "0: all"),
      number_or_text("run.memory_budget", at(run, &R::memory_budget), "\"half\" or a size such as \"2GiB\"",
                     is_memory_budget, "\"half\"", "half of what is free, or a size"),
      text("run.out", at(run, &R::out), "a folder", "\"runs/first\"", "where the results go"),
  };
}

const std::vector<Key>& keys() {
  static const std::vector<Key> all = [] {
    std::vector<Key> table;
    for (auto section : {model_keys(), data_keys(), loss_keys(), train_keys(), analyze_and_run_keys()})
      for (auto& key : section) table.push_back(std::move(key));
    return table;
  }();
  return all;
}

const std::string options_prefix = "train.options.";  // one option, for --set and for naming its line

std::vector<std::string> sections() {
  return {"model", "data", "loss", "metrics", "train", "analyze", "run"};
}

std::string section_of(const std::string& key) {
  return key.substr(0, key.find('.'));
}

[[noreturn]] void unknown_key(const std::string& where, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& key : keys()) names.push_back(key.name);
  for (const auto& section : sections()) names.push_back(section);
  std::string nearest;  // a key in the wrong section, else one misspelt
  for (const auto& candidate : names)
    if (name.find('.') != std::string::npos && candidate.ends_with(name.substr(name.rfind('.'))))
      nearest = candidate;
  if (nearest.empty()) nearest = nearest_word(name, names);
  std::string hint = nearest.empty() ? fmt::format("the sections are {}", fmt::join(sections(), ", "))
                                     : fmt::format("did you mean {}?", nearest);
  fail_usage(fmt::format("{}: unknown key {}; {}", where, name, hint));
}

// Sets one key; `where` is "run.toml:12" or a flag.
void read_key(RunConfig& config, const std::string& name, const Given& given, const std::string& where) {
  std::string expected = "true, false, a number or a text";
  try {
    if (name.starts_with(options_prefix)) {
      config.train.options[name.substr(options_prefix.size())] = option_value(given);
      return;
    }
    for (const auto& key : keys()) {
      if (key.name != name) continue;
      expected = key.expected;
      key.read(config, given);
      return;
    }
  } catch (const NotMeant&) {
    fail_usage(fmt::format("{}: {} = {}: must be {}", where, name, shown(given), expected));
  }
  unknown_key(where, name);
}

}  // namespace

void RunConfig::read_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  std::error_code ignored;
  if (!in || std::filesystem::is_directory(path, ignored) || !(text << in.rdbuf()))
    fail_usage(fmt::format("{}: no such run file, or it cannot be read", path));
  read_text(text.str(), path);
}

void RunConfig::read_text(const std::string& text, const std::string& name) {
  toml::table file;
  try {
    file = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    fail_usage(fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
  auto where = [&name](const toml::node& node) {
    return fmt::format("{}:{}", name, node.source().begin.line);
  };
  auto read = [&](const std::string& key, const toml::node& node) {
    read_key(*this, key, Given{node, "", false}, where(node));
    origins_[key] = where(node) + ": ";
  };
  for (const auto& [section_key, section] : file) {
    std::string section_name(section_key.str());
    const toml::table* entries = section.as_table();
    auto known = sections();
    if (entries == nullptr || std::find(known.begin(), known.end(), section_name) == known.end())
      unknown_key(where(section), section_name);
    for (const auto& [key, node] : *entries) {
      std::string full = fmt::format("{}.{}", section_name, key.str());
      const toml::table* options = full + "." == options_prefix ? node.as_table() : nullptr;
      if (options == nullptr) {
        read(full, node);
        continue;
      }
      for (const auto& [option, value] : *options) read(options_prefix + std::string(option.str()), value);
    }
  }
}

void RunConfig::set(const std::string& key, const std::string& value, const std::string& origin) {
  toml::table parsed;
  try {
    parsed = toml::parse("value = " + value);
  } catch (const toml::parse_error&) {
    parsed = toml::table{{"value", value}};
  }
  if (parsed.size() != 1) parsed = toml::table{{"value", value}};
  read_key(*this, key, Given{*parsed.get("value"), value, true}, origin);
  origins_[key] = origin + ": ";
}

void RunConfig::set_assignment(const std::string& assignment) {
  size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    fail_usage(fmt::format("--set {}: must be KEY=VALUE, such as train.method=adam", assignment));
  std::string key = assignment.substr(0, equals);
  key.erase(key.find_last_not_of(' ') + 1);
  set(key, assignment.substr(equals + 1), "--set");
}

std::string RunConfig::origin(const std::string& key) const {
  auto found = origins_.find(key);
  return (found == origins_.end() ? "" : found->second) + key;
}

std::string RunConfig::to_toml() const {
  std::string out, section;
  auto line = [&](const std::string& name, const std::string& value) {
    if (value.empty()) return;
    if (section_of(name) != section) {
      out += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", section_of(name));
      section = section_of(name);
    }
    out += fmt::format("{} = {}\n", name.substr(section.size() + 1), value);
  };
  for (const auto& key : keys()) line(key.name, key.write(*this));
  return out;
}

std::map<std::string, std::string> RunConfig::values() const {
  std::map<std::string, std::string> all;
  for (const auto& key : keys())
    if (std::string value = key.write(*this); !value.empty()) all[key.name] = value;
  return all;
}

void RunConfig::make_paths_absolute() {
  for (std::string* path :
       {&model.path, &model.parameters, &data.path, &data.labels, &data.test, &data.test_labels})
    if (!path->empty() && *path != "split")
      *path = std::filesystem::absolute(*path).lexically_normal().string();
}

std::string commented_run_file(const RunConfig& config) {
  std::string out =
      "# A run file of osculant. Lines that are commented out show what can be said, with an example or the\n"
      "# default. Flags win over this file; --set train.steps=100 sets any key.\n";
  std::string section;
  for (const auto& key : keys()) {
    if (section_of(key.name) != section) {
      section = section_of(key.name);
      out += fmt::format("\n[{}]\n", section);
    }
    std::string value = key.write(config);
    std::string assignment =
        fmt::format("{}{} = {}", value.empty() ? "# " : "", key.name.substr(section.size() + 1),
                    value.empty() ? key.example : value);
    out += fmt::format("{:<44} # {}\n", assignment, key.words);
  }
  return out;
}

}  // namespace osculant
