#include "osculant/io/torch_pickle.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <utility>

#include "osculant/base/error.h"

namespace osculant {
namespace {

// What a pickle can put on its stack here.
struct Value {
  enum class Kind { none, flag, integer, number, text, list, dict, name, storage, tensor, mark };
  Kind kind = Kind::none;
  int64_t integer = 0;        // flags and integers
  std::string text;           // texts; names as "torch._utils _rebuild_tensor_v2"
  std::vector<Value*> items;  // of tuples and lists
  std::vector<std::pair<std::string, const Value*>> entries;  // of dicts
  PickledTensor tensor;  // storages have record and dtype, tensors all of it
};
using Kind = Value::Kind;

struct StorageType {
  const char* name;
  at::ScalarType dtype;
};
constexpr std::array<StorageType, 9> storage_types{{{"torch FloatStorage", at::kFloat},
                                                    {"torch DoubleStorage", at::kDouble},
                                                    {"torch HalfStorage", at::kHalf},
                                                    {"torch BFloat16Storage", at::kBFloat16},
                                                    {"torch LongStorage", at::kLong},
                                                    {"torch IntStorage", at::kInt},
                                                    {"torch ShortStorage", at::kShort},
                                                    {"torch CharStorage", at::kChar},
                                                    {"torch ByteStorage", at::kByte}}};
constexpr const char* bool_storage = "torch BoolStorage";
constexpr const char* tensor_maker = "torch._utils _rebuild_tensor_v2";
constexpr const char* parameter_maker = "torch._utils _rebuild_parameter";
constexpr const char* ordered_dict = "collections OrderedDict";
constexpr const char* type_tag =
    "torch.jit._pickle restore_type_tag";  // what C++ adds to dicts: the types in it

const char* word_for(Kind kind) {
  static constexpr const char* words[] = {"None",      "a flag",   "a whole number", "a number",
                                          "a text",    "a list",   "a dict",         "a name",
                                          "a storage", "a tensor", "a mark"};
  return words[static_cast<size_t>(kind)];
}

// The opcodes are those of Python's Lib/pickletools.py.
class Machine {
 public:
  Machine(std::string_view pickle, const std::string& where) : pickle_(pickle), where_(where) {}

  const Value& run() {
    while (step(static_cast<unsigned char>(take(1)[0]))) {
    }
    return top();
  }

  [[noreturn]] void bad(const std::string& what) const { fail_data(fmt::format("{}: {}", where_, what)); }

 private:
  // ---- bytes

  std::string_view take(size_t bytes) {
    if (bytes > pickle_.size() - at_) bad(fmt::format("is cut short at byte {}", at_));
    at_ += bytes;
    return pickle_.substr(at_ - bytes, bytes);
  }
  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string line() {
    size_t end = pickle_.find('\n', at_);
    if (end == std::string_view::npos) bad(fmt::format("has a name without end at byte {}", at_));
    std::string text(take(end - at_));
    take(1);
    return text;
  }
  int64_t long_integer() {
    size_t bytes = number<uint8_t>();
    if (bytes > 8) bad(fmt::format("has a whole number of {} bytes; at most 8 can be", bytes));
    auto little_endian = take(bytes);
    uint64_t value = bytes > 0 && (little_endian.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(little_endian[i]);
    return static_cast<int64_t>(value);
  }

  // ---- stack

  Value& make(Kind kind) {
    values_.push_back(std::make_unique<Value>());
    values_.back()->kind = kind;
    return *values_.back();
  }
  Value& push(Kind kind) {
    Value& value = make(kind);
    stack_.push_back(&value);
    return value;
  }
  void push_integer(int64_t value) { push(Kind::integer).integer = value; }

  Value& top() const {
    if (stack_.empty() || stack_.back()->kind == Kind::mark)
      bad(fmt::format("lacks a value at byte {}", at_));
    return *stack_.back();
  }
  Value& pop() {
    Value& value = top();
    stack_.pop_back();
    return value;
  }
  const Value& pop(Kind kind) {
    const Value& value = pop();
    expect(value, kind);
    return value;
  }
  void expect(const Value& value, Kind kind) const {
    if (value.kind != kind)
      bad(fmt::format("has {} at byte {}, expected {}", word_for(value.kind), at_, word_for(kind)));
  }
  // What was pushed since the last mark, which goes too.
  std::vector<Value*> pop_to_mark() {
    for (size_t i = stack_.size(); i-- > 0;) {
      if (stack_[i]->kind != Kind::mark) continue;
      std::vector<Value*> values(stack_.begin() + static_cast<std::ptrdiff_t>(i) + 1, stack_.end());
      stack_.resize(i);
      return values;
    }
    bad(fmt::format("lacks a mark at byte {}", at_));
  }
  void push_list(const std::vector<Value*>& items) { push(Kind::list).items = items; }
  void push_list(size_t count) {
    std::vector<Value*> items(count);
    for (size_t i = count; i-- > 0;) items[i] = &pop();
    push_list(items);
  }

  const Value& item(const Value& list, size_t i, Kind kind) const {
    expect(list, Kind::list);
    if (i >= list.items.size())
      bad(fmt::format("has {} values at byte {}, expected more", list.items.size(), at_));
    expect(*list.items[i], kind);
    return *list.items[i];
  }

  // ---- opcodes

  bool step(unsigned char opcode) {
    switch (opcode) {
      case 0x80:
        if (int version = number<uint8_t>(); version != 2)
          bad(fmt::format("is a pickle of protocol {}, expected 2", version));
        return true;
      case '.':
        return false;
      case '(':
        push(Kind::mark);
        return true;
      case 'N':
        push(Kind::none);
        return true;
      case 0x88:
      case 0x89:
        push(Kind::flag).integer = opcode == 0x88;
        return true;
      case 'J':
        push_integer(number<int32_t>());
        return true;
      case 'K':
        push_integer(number<uint8_t>());
        return true;
      case 'M':
        push_integer(number<uint16_t>());
        return true;
      case 0x8a:
        push_integer(long_integer());
        return true;
      case 'G':
        take(8);
        push(Kind::number);
        return true;
      case 'X': {
        auto bytes = number<uint32_t>();
        push(Kind::text).text = take(bytes);
        return true;
      }
      case 'c': {
        std::string module = line(), name = line();
        push_name(module + " " + name);
        return true;
      }
      default:
        return build(opcode);
    }
  }

  bool build(unsigned char opcode) {
    switch (opcode) {
      case ')':
      case ']':
        push(Kind::list);
        return true;
      case '}':
        push(Kind::dict);
        return true;
      case 't':
        push_list(pop_to_mark());
        return true;
      case 0x85:
      case 0x86:
      case 0x87:
        push_list(size_t{opcode} - 0x84);
        return true;
      case 'q':
        memo_[number<uint8_t>()] = &top();
        return true;
      case 'r':
        memo_[number<uint32_t>()] = &top();
        return true;
      case 'h':
        recall(number<uint8_t>());
        return true;
      case 'j':
        recall(number<uint32_t>());
        return true;
      case 's': {
        Value &value = pop(), &key = pop();
        set_items({&key, &value});
        return true;
      }
      case 'u':
        set_items(pop_to_mark());
        return true;
      case 'Q':
        push_storage(pop(Kind::list));
        return true;
      case 'R':
        call();
        return true;
      case 'b':  // the state of an OrderedDict: its _metadata
        pop(Kind::dict);
        expect(top(), Kind::dict);
        return true;
      default:
        bad(fmt::format("has the opcode 0x{:02x} at byte {}, which no dict of tensors needs", opcode,
                        at_ - 1));
    }
  }

  void recall(uint32_t key) {
    auto found = memo_.find(key);
    if (found == memo_.end())
      bad(fmt::format("recalls the value {} at byte {}, which it never had", key, at_));
    stack_.push_back(found->second);
  }

  void push_name(const std::string& name) {
    bool known = name == tensor_maker || name == parameter_maker || name == ordered_dict ||
                 name == bool_storage || name == type_tag;
    for (const auto& type : storage_types) known = known || name == type.name;
    if (!known)
      bad(
          fmt::format("names {}, which would take code to rebuild: only a dict of tensors can be read; save "
                      "{{\"inputs\": x, \"targets\": y}} alone",
                      name));
    push(Kind::name).text = name;
  }

  void set_items(const std::vector<Value*>& items) {
    Value& dict = top();
    expect(dict, Kind::dict);
    if (items.size() % 2) bad(fmt::format("has a key without a value at byte {}", at_));
    for (size_t i = 0; i < items.size(); i += 2) {
      if (items[i]->kind != Kind::text)
        bad(fmt::format("a key of its dict is {}, expected a text", word_for(items[i]->kind)));
      dict.entries.emplace_back(name_of(*items[i]), items[i + 1]);
    }
  }

  // A text that may be recalled and is copied each time.
  const std::string& name_of(const Value& value) const {
    constexpr size_t longest_name = 1024;
    if (value.text.size() > longest_name)
      bad(fmt::format("has a name of {} bytes, at most {} can be", value.text.size(), longest_name));
    return value.text;
  }

  // ("storage", torch.FloatStorage, "0", "cpu", 6). How long it is, its record tells.
  void push_storage(const Value& id) {
    if (item(id, 0, Kind::text).text != "storage")
      bad(fmt::format("refers to a \"{}\", expected a storage", id.items[0]->text));
    const std::string& type = item(id, 1, Kind::name).text;
    Value& storage = push(Kind::storage);
    bool known = type == bool_storage;
    storage.tensor.placement.dtype = at::kBool;
    for (const auto& candidate : storage_types) {
      if (type != candidate.name) continue;
      known = true;
      storage.tensor.placement.dtype = candidate.dtype;
    }
    if (!known) bad(fmt::format("has a storage of {}", type));
    storage.tensor.record = "data/" + name_of(item(id, 2, Kind::text));
  }

  void call() {
    const Value& arguments = pop(Kind::list);
    const std::string& name = pop(Kind::name).text;
    if (name == ordered_dict) {
      if (!arguments.items.empty()) bad("makes an OrderedDict of something, expected an empty one");
      push(Kind::dict);
    } else if (name == type_tag) {
      item(arguments, 1, Kind::text);
      stack_.push_back(arguments.items[0]);
    } else if (name == parameter_maker) {
      push(Kind::tensor).tensor = item(arguments, 0, Kind::tensor).tensor;
    } else if (name == tensor_maker) {
      PickledTensor tensor = item(arguments, 0, Kind::storage).tensor;
      tensor.placement.offset = item(arguments, 1, Kind::integer).integer;
      tensor.placement.sizes = integers(item(arguments, 2, Kind::list));
      tensor.placement.strides = integers(item(arguments, 3, Kind::list));
      push(Kind::tensor).tensor = std::move(tensor);
    } else {
      bad(fmt::format("calls {}, which no dict of tensors needs", name));
    }
  }

  // No more than a tensor has dimensions: whoever recalls a long list has it copied.
  std::vector<int64_t> integers(const Value& list) const {
    constexpr size_t most_dimensions = 64;
    if (list.items.size() > most_dimensions)
      bad(fmt::format("gives a tensor {} dimensions, at most {} can be", list.items.size(), most_dimensions));
    std::vector<int64_t> values;
    for (size_t i = 0; i < list.items.size(); ++i) values.push_back(item(list, i, Kind::integer).integer);
    return values;
  }

  std::string_view pickle_;
  const std::string& where_;
  size_t at_ = 0;
  std::vector<std::unique_ptr<Value>> values_;
  std::vector<Value*> stack_;
  std::unordered_map<uint32_t, Value*> memo_;
};

}  // namespace

std::vector<PickledTensor> parse_pickled_tensors(std::string_view pickle, const std::string& where) {
  Machine machine(pickle, where);
  const Value& result = machine.run();
  if (result.kind != Kind::dict)
    machine.bad(fmt::format("holds {}, expected a dict of tensors", word_for(result.kind)));
  std::vector<PickledTensor> tensors;
  for (const auto& [name, value] : result.entries) {
    if (value->kind != Kind::tensor)
      machine.bad(fmt::format("\"{}\" is {}, expected a tensor", name, word_for(value->kind)));
    tensors.push_back(value->tensor);
    tensors.back().name = name;
  }
  return tensors;
}

}  // namespace osculant
