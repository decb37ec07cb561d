#include "osculant/model/exported_call_checks.h"

#include <ATen/ATen.h>
#include <ATen/ScalarOps.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>

namespace osculant::exported {

namespace {

// native_batch_norm and its kin (input, weight, bias, running_mean, running_var, ...): the kernels read as
// many entries of each as the input has channels, and divide by how many there are. aten::batch_norm looks
// first.
std::string batch_norm_vectors(const std::vector<c10::IValue>& arguments) {
  const auto& input = arguments[0].toTensor();
  if (input.dim() < 2) return fmt::format("its input has {} dimensions, at least 2 are needed", input.dim());
  if (input.numel() == 0)
    return fmt::format("its input, of shape [{}], is empty", fmt::join(input.sizes(), ", "));
  for (size_t i = 1; i < 5 && i < arguments.size(); ++i) {
    if (!arguments[i].isTensor() || !arguments[i].toTensor().defined()) continue;
    const auto& vector = arguments[i].toTensor();
    if (vector.dim() != 1 || vector.size(0) != input.size(1))
      return fmt::format("argument {} has shape [{}], and its input {} channels", i,
                         fmt::join(vector.sizes(), ", "), input.size(1));
  }
  auto given = [&](size_t i) {
    return i < arguments.size() && arguments[i].isTensor() && arguments[i].toTensor().defined();
  };
  auto set = [&](size_t i) { return i < arguments.size() && arguments[i].isBool() && arguments[i].toBool(); };
  bool training = set(3) || set(5);  // the fourth argument where there are no running statistics
  if (!training && !(given(3) && given(4))) return "it neither trains nor has running statistics";
  return "";
}

// Splitting into so many parts (tensor, parts, ...): of a dimension without entries libtorch makes as many
// tensors as are asked for, until there is no memory.
std::string number_of_parts(const std::vector<c10::IValue>& arguments) {
  constexpr int64_t most = 1 << 16;
  if (arguments.size() < 2) return "";
  const auto& given = arguments[1];
  bool number =
      given.isTensor() && given.toTensor().numel() == 1 && given.toTensor().scalar_type() == at::kLong;
  int64_t parts = number ? given.toTensor().item<int64_t>() : given.isInt() ? given.toInt() : 0;
  return parts <= most ? "" : fmt::format("asks for {} parts, at most {} can be", parts, most);
}

// matrix_power (tensor, exponent): libtorch inverts and takes the exponent's absolute value, which the least
// integer has none of, and multiplies without end.
std::string power_of_matrix(const std::vector<c10::IValue>& arguments) {
  bool endless = arguments.size() > 1 && arguments[1].isInt() && arguments[1].toInt() == INT64_MIN;
  return endless ? fmt::format("asks for the power {}, which has no opposite", INT64_MIN) : "";
}

// lstm (input, {h, c}, weights, has_biases, num_layers, dropout, train, bidirectional, batch_first): of
// oneDNN's kernels, which take every size on trust. The other recurrent layers, and packed sequences,
// multiply by libtorch's own matrix products.
class LstmSizes {
 public:
  explicit LstmSizes(const std::vector<c10::IValue>& arguments)
      : input_(arguments[0].toTensor()),
        states_(arguments[1].toTensorVector()),
        weights_(arguments[2].toTensorVector()),
        has_biases_(arguments[3].toBool()),
        layers_(arguments[4].toInt()),
        directions_(arguments[7].toBool() ? 2 : 1),
        batch_first_(arguments[8].toBool()) {}

  std::string error() {
    if (input_.dim() != 3) return fmt::format("its input has {} dimensions, must have 3", input_.dim());
    if (states_.size() != 2) return fmt::format("has {} states, must have 2", states_.size());
    auto given = static_cast<int64_t>(weights_.size()), plain = int64_t{has_biases_ ? 4 : 2};
    if (layers_ < 1 || layers_ > given) return fmt::format("has {} layers and {} weights", layers_, given);
    int64_t uses = layers_ * directions_, each = given / uses;
    if (given != each * uses || each < plain || each > plain + 1)
      return fmt::format("has {} weights, must have {} or {}", given, plain * uses, (plain + 1) * uses);
    if (states_[1].dim() != 3) return fmt::format("its second state has {} dimensions", states_[1].dim());
    int64_t examples = input_.size(batch_first_ ? 0 : 1), hidden = states_[1].size(2), out = hidden;
    if (each > plain && states_[0].dim() == 3) out = states_[0].size(2);  // projected
    expect("its first state", states_[0], {uses, examples, out});
    expect("its second state", states_[1], {uses, examples, hidden});
    for (int64_t use = 0; use < uses; ++use) {
      int64_t in = use < directions_ ? input_.size(2) : out * directions_;
      std::vector<std::vector<int64_t>> shapes{{4 * hidden, in}, {4 * hidden, out}};
      if (has_biases_) shapes.insert(shapes.end(), 2, {4 * hidden});
      if (each > plain) shapes.push_back({out, hidden});
      for (int64_t i = 0; i < each; ++i)
        expect(fmt::format("weight {}", use * each + i), weights_[use * each + i], shapes[i]);
    }
    return error_;
  }

 private:
  void expect(const std::string& what, const at::Tensor& tensor, const std::vector<int64_t>& shape) {
    if (error_.empty() && tensor.sizes() != at::IntArrayRef(shape))
      error_ = fmt::format("{} has shape [{}], must be [{}]", what, fmt::join(tensor.sizes(), ", "),
                           fmt::join(shape, ", "));
  }

  at::Tensor input_;
  std::vector<at::Tensor> states_, weights_;
  bool has_biases_;
  int64_t layers_, directions_;
  bool batch_first_;
  std::string error_;
};

std::string lstm_sizes(const std::vector<c10::IValue>& arguments) {
  return arguments.size() == 9 && arguments[1].isTensorList() ? LstmSizes(arguments).error() : "";
}

// repeat_interleave (repeats, ...) or (tensor, repeats, ...): libtorch adds the repeats up in 64 bits without
// a look at overflow, and makes a result of that size.
std::string repetitions(const std::vector<c10::IValue>& arguments) {
  constexpr double most = 1ll << 40;
  size_t which = arguments.size() > 2 ? 1 : 0;
  if (arguments.size() <= which || !arguments[which].isTensor()) return "";
  const auto& repeats = arguments[which].toTensor();
  if (!repeats.defined() || !c10::isIntegralType(repeats.scalar_type(), false)) return "";
  double total = repeats.to(at::kDouble).sum().item<double>();
  return total <= most ? "" : fmt::format("asks for {:g} repetitions, at most {:g} can be", total, most);
}

// native_group_norm (input, weight, bias, N, C, HxW, ...): the product of the sizes may overflow to the size
// of the input.
std::string group_norm_sizes(const std::vector<c10::IValue>& arguments) {
  if (arguments.size() < 6) return "";
  int64_t entries = 1;
  bool fits = true;
  for (size_t i = 3; i < 6; ++i) {
    int64_t size = arguments[i].toInt();
    fits = fits && size >= 0 && !__builtin_mul_overflow(entries, size, &entries);
  }
  if (fits && entries == arguments[0].toTensor().numel()) return "";
  return fmt::format("its input has shape [{}], and is said to be {} x {} x {}",
                     fmt::join(arguments[0].toTensor().sizes(), ", "), arguments[3].toInt(),
                     arguments[4].toInt(), arguments[5].toInt());
}

// div (a, b, rounding_mode) by truncation: the processor ends the process at the least integer divided by -1.
std::string truncated_quotient(const std::vector<c10::IValue>& arguments) {
  if (arguments.size() < 3 || !arguments[2].isString() || arguments[2].toStringRef() != "trunc") return "";
  auto tensor_of = [](const c10::IValue& value) {
    return value.isTensor() ? value.toTensor() : at::scalar_to_tensor(value.toScalar());
  };
  at::Tensor a = tensor_of(arguments[0]), b = tensor_of(arguments[1]);
  auto type = at::result_type(a, b);
  if (type != at::kInt && type != at::kLong) return "";
  int64_t least = type == at::kInt ? INT32_MIN : INT64_MIN;
  bool ends = a.to(at::kLong).eq(least).any().item<bool>() && b.eq(-1).any().item<bool>();
  return ends ? fmt::format("divides {} by -1, which has no quotient of its type", least) : "";
}

struct CheckRule {
  std::string_view name;
  CallCheck check;
};

constexpr CheckRule check_rules[] = {
    {"aten::native_batch_norm", batch_norm_vectors},
    {"aten::_native_batch_norm_legit", batch_norm_vectors},
    {"aten::_native_batch_norm_legit_functional", batch_norm_vectors},
    {"aten::_native_batch_norm_legit_no_training", batch_norm_vectors},
    {"aten::tensor_split", number_of_parts},
    {"aten::hsplit", number_of_parts},
    {"aten::vsplit", number_of_parts},
    {"aten::dsplit", number_of_parts},
    {"aten::chunk", number_of_parts},
    {"aten::unsafe_chunk", number_of_parts},
    {"aten::lstm", lstm_sizes},
    {"aten::repeat_interleave", repetitions},
    {"aten::native_group_norm", group_norm_sizes},
    {"aten::div", truncated_quotient},
    {"aten::div_", truncated_quotient},
    {"aten::matrix_power", power_of_matrix},
    {"aten::linalg_matrix_power", power_of_matrix},
};

}  // namespace

CallCheck check_of(std::string_view name) {
  for (const auto& rule : check_rules)
    if (rule.name == name) return rule.check;
  return nullptr;
}

}  // namespace osculant::exported
