#include "osculant/model/exported_program.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/cuda.h>
#include <torch/types.h>

#include <unordered_map>
#include <unordered_set>

#include "osculant/base/error.h"
#include "osculant/model/exported_archive.h"
#include "osculant/model/exported_graph.h"
#include "osculant/model/exported_interpreter.h"
#include "osculant/model/twice_differentiable.h"

namespace osculant {
namespace {

using exported::InputSpec;
using exported::ProgramGraph;
using exported::Range;

const exported::StoredTensor& stored(const exported::Archive& archive, const InputSpec& spec,
                                     const std::string& path) {
  bool in_weights =
      spec.kind == InputSpec::Kind::parameter || (spec.kind == InputSpec::Kind::buffer && spec.persistent);
  const auto& tensors = in_weights ? archive.weights : archive.constants;
  auto at = tensors.find(spec.target);
  if (at == tensors.end()) fail_data(fmt::format("{}: the tensor {} is not in the file", path, spec.target));
  return at->second;
}

// The floating dtype of the program: that of its first floating parameter, buffer or constant, or else input.
at::ScalarType program_dtype(const ProgramGraph& program, const exported::Archive& archive,
                             const std::string& path) {
  for (const auto& spec : program.inputs) {
    if (spec.kind == InputSpec::Kind::user || spec.kind == InputSpec::Kind::number) continue;
    const auto& tensor = stored(archive, spec, path).tensor;
    if (tensor.is_floating_point()) return tensor.scalar_type();
  }
  for (const auto& [name, meta] : program.graph.tensors)
    if (c10::isFloatingType(meta.dtype)) return meta.dtype;
  return at::kFloat;
}

// A user input as the program declares it.
struct Input {
  std::string name;
  exported::TensorMeta meta;
};

std::string shape_of(const Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes(), ", "));
}

class ExportedModel : public Model::Implementation {
 public:
  ExportedModel(std::string path, const ExportedOptions& options)
      : path_(std::move(path)), device_(options.device) {
    auto archive = exported::read_archive(path_);
    auto program = exported::parse_program(archive.model_json, path_);
    exported::Binding binding;
    binding.file = path_;
    binding.device = options.device;
    binding.program_dtype = program_dtype(program, archive, path_);
    binding.dtype = options.dtype.value_or(binding.program_dtype);
    binding.allowed_operators = options.allowed_operators;
    program_dtype_ = binding.program_dtype;
    dtype_ = binding.dtype;
    bind_tensors(program, archive, binding);
    interpreter_ = std::make_unique<exported::Interpreter>(program, std::move(binding));
    declare_inputs(program);
  }

  Model::Outputs forward(const Model::Inputs& inputs) override {
    TwiceDifferentiableKernels kernels(interpreter_->recurrent());
    return interpreter_->run(checked(inputs), training_);
  }
  void train(bool on) override { training_ = on; }
  bool training() const override { return training_; }
  std::vector<NamedTensor> parameters() const override { return parameters_; }
  std::vector<NamedTensor> buffers() const override { return buffers_; }
  std::vector<TiedName> tied_names() const override { return tied_; }
  std::vector<std::string> input_names() const override {
    std::vector<std::string> names;
    for (const auto& input : inputs_) names.push_back(input.name);
    return names;
  }
  bool couples_examples() const override { return interpreter_->couples_examples(training_); }
  int64_t required_batch_size() const override { return required_batch_size_; }
  std::string kind() const override { return "exported"; }

 private:
  // Parameters, buffers and constants on the run's device and in its dtype; tied weights stay one tensor.
  void bind_tensors(const ProgramGraph& program, const exported::Archive& archive,
                    exported::Binding& binding) {
    std::unordered_map<c10::TensorImpl*, std::pair<std::string, Tensor>> bound;
    for (const auto& spec : program.inputs) {
      if (spec.kind == InputSpec::Kind::user || spec.kind == InputSpec::Kind::number) continue;
      const auto& source = stored(archive, spec, path_);
      auto [at, fresh] = bound.try_emplace(source.tensor.unsafeGetTensorImpl(), spec.target, Tensor());
      if (fresh) at->second.second = converted(source.tensor);
      Tensor tensor = at->second.second;
      binding.tensors[spec.target] = tensor;
      if (spec.kind == InputSpec::Kind::parameter) {
        if (fresh)
          parameters_.push_back({spec.target, tensor.set_requires_grad(source.requires_grad)});
        else
          tied_.push_back({spec.target, at->second.first});
      } else if (spec.kind == InputSpec::Kind::buffer && spec.persistent && fresh) {
        buffers_.push_back({spec.target, tensor});
      }
    }
  }

  Tensor converted(const Tensor& tensor) const {
    auto dtype = tensor.scalar_type() == program_dtype_ ? dtype_ : tensor.scalar_type();
    return tensor.to(tensor.options().device(device_).dtype(dtype)).clone();
  }

  void declare_inputs(const ProgramGraph& program) {
    ranges_ = program.ranges;
    for (const auto& spec : program.inputs) {
      if (spec.kind != InputSpec::Kind::user) continue;
      auto meta = program.graph.tensors.find(spec.value);
      if (meta == program.graph.tensors.end())
        fail_data(fmt::format("{}: input {} is not a tensor: not supported", path_, spec.value));
      inputs_.push_back({spec.value, meta->second});
      const auto& sizes = meta->second.sizes;
      if (!sizes.empty() && sizes[0].fixed) required_batch_size_ = *sizes[0].fixed;
    }
  }

  Model::Inputs checked(const Model::Inputs& inputs) const {
    if (inputs.size() != inputs_.size())
      fail_data(fmt::format("{}: takes {} inputs, got {}", path_, inputs_.size(), inputs.size()));
    Model::Inputs ready;
    std::unordered_map<std::string, int64_t> symbols;
    for (size_t i = 0; i < inputs.size(); ++i) {
      ready.push_back(with_dtype(inputs_[i], inputs[i]));
      check_shape(inputs_[i], ready.back(), symbols);
    }
    return ready;
  }

  Tensor with_dtype(const Input& declared, const Tensor& given) const {
    auto wanted = declared.meta.dtype == program_dtype_ ? dtype_ : declared.meta.dtype;
    if (given.device() != device_)
      fail_data(fmt::format("{}: input {} is on {}, the model on {}", path_, declared.name,
                            given.device().str(), device_.str()));
    if (given.scalar_type() == wanted) return given;
    bool both_integers = c10::isIntegralType(given.scalar_type(), true) && c10::isIntegralType(wanted, true);
    if (both_integers) return given.to(wanted);
    fail_data(fmt::format("{}: input {} is {}, the model takes {}", path_, declared.name,
                          c10::toString(given.scalar_type()), c10::toString(wanted)));
  }

  void check_shape(const Input& declared, const Tensor& given,
                   std::unordered_map<std::string, int64_t>& symbols) const {
    const auto& sizes = declared.meta.sizes;
    if (given.dim() != static_cast<int64_t>(sizes.size()))
      fail_data(fmt::format("{}: input {} has shape {}; the program takes {} dimensions", path_,
                            declared.name, shape_of(given), sizes.size()));
    for (size_t d = 0; d < sizes.size(); ++d) {
      int64_t size = given.size(static_cast<int64_t>(d));
      if (sizes[d].fixed && size != *sizes[d].fixed) wrong_size(declared, given, d, *sizes[d].fixed);
      if (sizes[d].symbol.empty()) continue;
      auto [at, fresh] = symbols.emplace(sizes[d].symbol, size);
      if (!fresh && at->second != size)
        fail_data(
            fmt::format("{}: input {} has shape {}, but dimension {} must be {} as in the inputs before it",
                        path_, declared.name, shape_of(given), d, at->second));
      check_range(declared, sizes[d].symbol, size, d);
    }
  }

  [[noreturn]] void wrong_size(const Input& declared, const Tensor& given, size_t d, int64_t wanted) const {
    if (d == 0)
      fail_data(
          fmt::format("{}: exported for exactly {} examples, got {}: export again with dynamic_shapes "
                      "(osculant_export.py sets them)",
                      path_, wanted, given.size(0)));
    fail_data(fmt::format("{}: input {} has shape {}, but the program takes {} in dimension {}", path_,
                          declared.name, shape_of(given), wanted, d));
  }

  void check_range(const Input& declared, const std::string& symbol, int64_t size, size_t d) const {
    auto range = ranges_.find(symbol);
    if (range == ranges_.end() || (size >= range->second.low && size <= range->second.high)) return;
    auto limits = range->second.high == INT64_MAX
                      ? fmt::format("at least {}", range->second.low)
                      : fmt::format("{} to {}", range->second.low, range->second.high);
    fail_data(d == 0 ? fmt::format("{}: a batch of {} examples: the program was exported for {}", path_, size,
                                   limits)
                     : fmt::format("{}: input {} has {} in dimension {}: the program was exported for {}",
                                   path_, declared.name, size, d, limits));
  }

  std::string path_;
  at::Device device_;
  at::ScalarType program_dtype_ = at::kFloat, dtype_ = at::kFloat;
  std::unique_ptr<exported::Interpreter> interpreter_;
  std::vector<Input> inputs_;
  std::map<std::string, Range> ranges_;
  std::vector<NamedTensor> parameters_, buffers_;
  std::vector<TiedName> tied_;
  int64_t required_batch_size_ = 0;
  bool training_ = false;
};

// Whatever is wrong with the file is said with its name.
std::shared_ptr<ExportedModel> read(const std::string& path, const ExportedOptions& options) {
  try {
    return std::make_shared<ExportedModel>(path, options);
  } catch (const Error& error) {
    std::string message = error.what();
    fail(error.kind(), message.starts_with(path) ? message : fmt::format("{}: {}", path, message));
  } catch (const c10::Error& error) {
    fail_data(fmt::format("{}: {}", path, error.what_without_backtrace()));
  } catch (const std::exception& error) {
    fail_data(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace

Model load_exported(const std::string& path, const ExportedOptions& options) {
  if (options.dtype && !c10::isFloatingType(*options.dtype))
    fail_option("dtype", c10::toString(*options.dtype), "a floating point type");
  if (options.device.is_cuda() && !torch::cuda::is_available())
    fail_option("device", options.device.str(), "a device that this machine and build of libtorch have");
  return Model(read(path, options), options.frozen);
}

}  // namespace osculant
