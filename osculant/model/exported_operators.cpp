#include "osculant/model/exported_operators.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <sstream>
#include <string>
#include <unordered_set>

namespace osculant::exported {
namespace {

// The allow list. A name covers all overloads but those that write to an `out` argument.
constexpr const char* allowed_names = R"(
  linear bilinear matmul mm bmm mv dot addmm addmv addbmm baddbmm addr outer ger inner vdot kron einsum tensordot
  chain_matmul linalg_multi_dot linalg_matmul linalg_vecdot

  conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution
  max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
  avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
  _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
  unfold im2col col2im fold pixel_shuffle pixel_unshuffle channel_shuffle
  upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
  upsample_bicubic2d upsample_trilinear3d grid_sampler grid_sampler_2d affine_grid_generator

  batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional
  _native_batch_norm_legit_no_training instance_norm layer_norm native_layer_norm group_norm native_group_norm
  rms_norm _fused_rms_norm local_response_norm

  lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
  scaled_dot_product_attention embedding embedding_renorm_ one_hot

  dropout dropout_ feature_dropout feature_dropout_ alpha_dropout alpha_dropout_ feature_alpha_dropout
  feature_alpha_dropout_ native_dropout bernoulli

  relu relu_ relu6 relu6_ leaky_relu leaky_relu_ elu elu_ selu selu_ celu celu_ gelu gelu_ silu silu_ mish mish_
  softplus softsign tanh tanh_ sigmoid sigmoid_ log_sigmoid log_sigmoid_forward hardtanh hardtanh_ hardsigmoid
  hardsigmoid_ hardswish hardswish_ prelu _prelu_kernel rrelu rrelu_ glu threshold threshold_ hardshrink softshrink
  softmax _softmax log_softmax _log_softmax softmin logsumexp logcumsumexp

  add add_ sub sub_ rsub mul mul_ div div_ true_divide floor_divide remainder fmod pow pow_ float_power square square_
  neg neg_ negative reciprocal reciprocal_ sqrt sqrt_ rsqrt rsqrt_ exp exp_ exp2 expm1 log log_ log2 log10 log1p
  sin sin_ cos cos_ tan asin acos atan atan2 sinh cosh asinh acosh atanh sinc erf erf_ erfc erfinv
  lgamma digamma xlogy logaddexp logaddexp2 logit hypot addcmul addcmul_ addcdiv addcdiv_ lerp lerp_
  abs abs_ absolute sign sgn floor ceil round trunc frac clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ clip
  maximum minimum fmax fmin nan_to_num heaviside special_xlog1py special_expit special_log1p special_erf
  deg2rad rad2deg copysign

  eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not logical_xor bitwise_and bitwise_or
  bitwise_not bitwise_xor __and__ __or__ __xor__ where masked_fill masked_fill_ masked_select masked_scatter
  any all equal isclose allclose

  sum mean var std var_mean std_mean prod max min amax amin aminmax argmax argmin median norm linalg_norm
  linalg_vector_norm linalg_matrix_norm frobenius_norm cumsum cumprod cummax cummin trace count_nonzero nansum
  nanmean topk sort argsort kthvalue unique_dim cosine_similarity pairwise_distance cdist _cdist_forward _euclidean_dist
  cross linalg_cross renorm

  view view_as reshape reshape_as _unsafe_view flatten unflatten squeeze squeeze_ unsqueeze unsqueeze_
  transpose transpose_ t t_ permute movedim moveaxis swapaxes swapdims numpy_T mT adjoint expand expand_as
  broadcast_to broadcast_tensors repeat repeat_interleave tile contiguous clone alias detach detach_ lift_fresh lift_fresh_copy
  select narrow slice split split_with_sizes tensor_split chunk unbind unsafe_chunk unsafe_split
  unsafe_split_with_sizes hsplit vsplit dsplit diagonal diag diag_embed diagflat tril triu tril_ triu_ flip fliplr
  flipud roll rot90 as_strided squeeze_copy expand_copy view_copy permute_copy slice_copy select_copy
  cat concat concatenate stack hstack vstack dstack meshgrid cartesian_prod block_diag atleast_1d atleast_2d atleast_3d
  pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
  replication_pad3d _pad_circular
  index index_select index_add index_add_ index_copy index_copy_ index_fill index_put index_put_ _unsafe_index
  _unsafe_index_put gather scatter scatter_ scatter_add scatter_add_ scatter_reduce select_scatter slice_scatter
  diagonal_scatter take take_along_dim bucketize searchsorted nonzero tril_indices triu_indices

  zeros ones full empty eye arange linspace logspace scalar_tensor zeros_like ones_like full_like empty_like
  new_zeros new_ones new_full new_empty rand randn rand_like randn_like randint randint_like randperm
  fill fill_ zero zero_ copy copy_ to _to_copy type_as _shape_as_tensor item _local_scalar_dense is_nonzero

  linalg_cholesky linalg_cholesky_ex cholesky cholesky_solve linalg_inv linalg_inv_ex inverse linalg_det linalg_slogdet
  slogdet logdet det linalg_solve linalg_solve_ex _linalg_solve_ex linalg_solve_triangular triangular_solve linalg_eigh linalg_eigvalsh
  _linalg_eigh linalg_qr linalg_svd linalg_svdvals _linalg_svd matrix_power linalg_matrix_power linalg_matrix_exp
  matrix_exp linalg_lu linalg_pinv linalg_diagonal pinverse

  cross_entropy_loss nll_loss nll_loss_nd nll_loss2d mse_loss l1_loss smooth_l1_loss huber_loss kl_div
  binary_cross_entropy binary_cross_entropy_with_logits poisson_nll_loss

  view_as_real view_as_complex real imag complex polar
  fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_rfftn
  fft_irfftn fft_fftshift fft_ifftshift fft_fftfreq fft_rfftfreq

  sym_size sym_numel sym_stride sym_storage_offset numel size dim
)";

std::unordered_set<std::string> words(const char* text) {
  std::istringstream in(text);
  std::unordered_set<std::string> set;
  for (std::string word; in >> word;) set.insert("aten::" + word);
  return set;
}

struct ModeRule {
  std::string_view name;
  OperatorMode mode;
};

constexpr ModeRule mode_rules[] = {
    {"aten::dropout", {ModeSwitch::flag, "train"}},
    {"aten::dropout_", {ModeSwitch::flag, "train"}},
    {"aten::feature_dropout", {ModeSwitch::flag, "train"}},
    {"aten::feature_dropout_", {ModeSwitch::flag, "train"}},
    {"aten::alpha_dropout", {ModeSwitch::flag, "train"}},
    {"aten::alpha_dropout_", {ModeSwitch::flag, "train"}},
    {"aten::feature_alpha_dropout", {ModeSwitch::flag, "train"}},
    {"aten::feature_alpha_dropout_", {ModeSwitch::flag, "train"}},
    {"aten::native_dropout", {ModeSwitch::flag, "train"}},
    {"aten::rrelu", {ModeSwitch::flag, "training"}},
    {"aten::rrelu_", {ModeSwitch::flag, "training"}},
    {"aten::lstm", {ModeSwitch::flag, "train"}},
    {"aten::gru", {ModeSwitch::flag, "train"}},
    {"aten::rnn_tanh", {ModeSwitch::flag, "train"}},
    {"aten::rnn_relu", {ModeSwitch::flag, "train"}},
    {"aten::batch_norm", {ModeSwitch::statistics, "training"}},
    {"aten::native_batch_norm", {ModeSwitch::statistics, "training"}},
    {"aten::_native_batch_norm_legit", {ModeSwitch::statistics, "training"}},
    {"aten::_native_batch_norm_legit_functional", {ModeSwitch::statistics, "training"}},
    {"aten::instance_norm", {ModeSwitch::statistics, "use_input_stats"}},
    {"aten::scaled_dot_product_attention", {ModeSwitch::rate, "dropout_p"}},
};

// native_batch_norm and its kin (input, weight, bias, running_mean, running_var, ...): the kernels read as
// many entries of each as the input has channels, and divide by how many there are. aten::batch_norm looks
// first.
std::string channel_vectors(const std::vector<c10::IValue>& arguments) {
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
std::string exponent(const std::vector<c10::IValue>& arguments) {
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

struct CheckRule {
  std::string_view name;
  CallCheck check;
};

constexpr CheckRule check_rules[] = {
    {"aten::native_batch_norm", channel_vectors},
    {"aten::_native_batch_norm_legit", channel_vectors},
    {"aten::_native_batch_norm_legit_functional", channel_vectors},
    {"aten::_native_batch_norm_legit_no_training", channel_vectors},
    {"aten::tensor_split", number_of_parts},
    {"aten::hsplit", number_of_parts},
    {"aten::vsplit", number_of_parts},
    {"aten::dsplit", number_of_parts},
    {"aten::chunk", number_of_parts},
    {"aten::unsafe_chunk", number_of_parts},
    {"aten::lstm", lstm_sizes},
    {"aten::matrix_power", exponent},
    {"aten::linalg_matrix_power", exponent},
};

// torch/csrc/utils/python_arg_parser.cpp, should_allow_numbers_as_tensors.
constexpr std::string_view number_names[] = {
    "aten::add",  "aten::add_",  "aten::sub",     "aten::sub_",        "aten::mul",
    "aten::mul_", "aten::div",   "aten::div_",    "aten::true_divide", "aten::floor_divide",
    "aten::copy", "aten::copy_", "aten::_to_copy"};

}  // namespace

CallCheck check_of(std::string_view name) {
  for (const auto& rule : check_rules)
    if (rule.name == name) return rule.check;
  return nullptr;
}

bool is_allowed(std::string_view name) {
  static const auto allowed = words(allowed_names);
  return allowed.count(std::string(name)) > 0;
}

OperatorMode mode_of(std::string_view name) {
  for (const auto& rule : mode_rules)
    if (rule.name == name) return rule.mode;
  return {};
}

bool takes_numbers_as_tensors(std::string_view name) {
  return std::find(std::begin(number_names), std::end(number_names), name) != std::end(number_names);
}

bool may_return_argument(std::string_view name) {
  auto mode = mode_of(name).how;
  return mode == ModeSwitch::flag || name == "aten::pad" || name == "aten::type_as" ||
         name == "aten::repeat_interleave" || name == "aten::adaptive_avg_pool1d";
}

}  // namespace osculant::exported
