#include "osculant/model/exported_operators.h"

#include <algorithm>
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

// torch/csrc/utils/python_arg_parser.cpp, should_allow_numbers_as_tensors.
constexpr std::string_view number_names[] = {
    "aten::add",  "aten::add_",  "aten::sub",     "aten::sub_",        "aten::mul",
    "aten::mul_", "aten::div",   "aten::div_",    "aten::true_divide", "aten::floor_divide",
    "aten::copy", "aten::copy_", "aten::_to_copy"};

}  // namespace

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
