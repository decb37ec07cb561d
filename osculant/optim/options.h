#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace osculant {

// An option as a run file or a command line gives it. Text stands for what it says: "0.1", "true",
// "absolute".
using OptionValue = std::variant<bool, double, std::string>;
using OptionMap = std::map<std::string, OptionValue>;

// One option of a method, for people.
struct OptionInfo {
  std::string name;
  std::string default_value;
  std::string constraint;
  std::string doc;
};

// Names for particular values of an option.
template <class Value>
using Choices = std::vector<std::pair<std::string, Value>>;

// A struct of options is told once, by a function
//   void visit(OptionVisitor& v, Options& o) { v.number("learning_rate", o.learning_rate, "> 0", "step
//   length"); ... }
// and read in two ways: OptionLister writes down what there is, OptionReader sets fields from a map.
class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  virtual void number(const std::string& name, double& field, const char* constraint, const char* doc) = 0;
  // A number that may be left to the method: "auto" where the field is empty.
  virtual void number(const std::string& name, std::optional<double>& field, const char* constraint,
                      const char* doc) = 0;
  virtual void integer(const std::string& name, int64_t& field, const char* constraint, const char* doc,
                       const Choices<int64_t>& names = {}) = 0;
  virtual void flag(const std::string& name, bool& field, const char* doc) = 0;
  virtual void text(const std::string& name, std::string& field, const char* constraint, const char* doc) = 0;

  template <class Enum>
  void choice(const std::string& name, Enum& field, const Choices<Enum>& choices, const char* doc) {
    std::vector<std::string> words;
    size_t chosen = 0;
    for (size_t i = 0; i < choices.size(); ++i) {
      words.push_back(choices[i].first);
      if (choices[i].second == field) chosen = i;
    }
    field = choices[word(name, words, chosen, doc)].second;
  }

 protected:
  // Index of the word chosen; `chosen` is the default.
  virtual size_t word(const std::string& name, const std::vector<std::string>& words, size_t chosen,
                      const char* doc) = 0;
};

class OptionLister : public OptionVisitor {
 public:
  void number(const std::string& name, double& field, const char* constraint, const char* doc) override;
  void number(const std::string& name, std::optional<double>& field, const char* constraint,
              const char* doc) override;
  void integer(const std::string& name, int64_t& field, const char* constraint, const char* doc,
               const Choices<int64_t>& names = {}) override;
  void flag(const std::string& name, bool& field, const char* doc) override;
  void text(const std::string& name, std::string& field, const char* constraint, const char* doc) override;
  std::vector<OptionInfo> options;

 protected:
  size_t word(const std::string& name, const std::vector<std::string>& words, size_t chosen,
              const char* doc) override;
};

class OptionReader : public OptionVisitor {
 public:
  // `owner` is named in messages: "adam".
  OptionReader(std::string owner, OptionMap values) : owner_(std::move(owner)), values_(std::move(values)) {}
  void number(const std::string& name, double& field, const char* constraint, const char* doc) override;
  void number(const std::string& name, std::optional<double>& field, const char* constraint,
              const char* doc) override;
  void integer(const std::string& name, int64_t& field, const char* constraint, const char* doc,
               const Choices<int64_t>& names = {}) override;
  void flag(const std::string& name, bool& field, const char* doc) override;
  void text(const std::string& name, std::string& field, const char* constraint, const char* doc) override;
  // Throws Error(usage), naming the nearest, for a value that no option has asked for.
  void require_all_read() const;

 protected:
  size_t word(const std::string& name, const std::vector<std::string>& words, size_t chosen,
              const char* doc) override;

 private:
  const OptionValue* find(const std::string& name);
  double number_in(const std::string& name, const OptionValue& value, const std::string& expected) const;

  std::string owner_;
  OptionMap values_;
  std::vector<std::string> known_;
};

}  // namespace osculant
