#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn.h>

#include <memory>
#include <string>

#include "osculant/base/error.h"
#include "osculant/model/zoo_parts.h"

namespace osculant {

using namespace zoo_parts;

namespace {

torch::nn::Linear linear(int64_t in, int64_t out, bool bias = true) {
  return torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(bias));
}

torch::nn::LayerNorm layer_norm(int64_t width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}));
}

// softmax(Q K' / sqrt(d) + mask) V in each head, d = width / heads, the mask -inf above the diagonal (Vaswani
// et al. 2017, section 3.2). Model::forward chooses the kernel: one with second derivatives.
class CausalAttention : public torch::nn::Module {
 public:
  CausalAttention(int64_t width, int64_t heads)
      : heads_(heads),
        query_(register_module("query", linear(width, width, false))),
        key_(register_module("key", linear(width, width, false))),
        value_(register_module("value", linear(width, width, false))),
        output_(register_module("output", linear(width, width))) {}

  Tensor forward(const Tensor& x) {
    Tensor mixed = at::scaled_dot_product_attention(split(query_->forward(x)), split(key_->forward(x)),
                                                    split(value_->forward(x)), /*attn_mask=*/{},
                                                    /*dropout_p=*/0, /*is_causal=*/true);
    return output_->forward(mixed.transpose(1, 2).reshape(x.sizes()));
  }

 private:
  // [N, T, width] to [N, heads, T, d]
  Tensor split(const Tensor& x) const {
    return x.view({x.size(0), x.size(1), heads_, x.size(2) / heads_}).transpose(1, 2);
  }

  int64_t heads_;
  torch::nn::Linear query_, key_, value_, output_;
};

class DecoderBlock : public torch::nn::Module {
 public:
  explicit DecoderBlock(const TransformerOptions& options)
      : activation_(options.activation),
        norm1_(register_module("norm1", layer_norm(options.width))),
        attention_(
            register_module("attention", std::make_shared<CausalAttention>(options.width, options.heads))),
        norm2_(register_module("norm2", layer_norm(options.width))),
        up_(register_module("up", linear(options.width, 4 * options.width))),
        down_(register_module("down", linear(4 * options.width, options.width))) {}

  Tensor forward(Tensor x) {
    x = x + attention_->forward(norm1_->forward(x));
    return x + down_->forward(activated(activation_, up_->forward(norm2_->forward(x))));
  }

 private:
  Activation activation_;
  torch::nn::LayerNorm norm1_;
  std::shared_ptr<CausalAttention> attention_;
  torch::nn::LayerNorm norm2_;
  torch::nn::Linear up_, down_;
};

class Transformer : public torch::nn::Module {
 public:
  explicit Transformer(const TransformerOptions& options)
      : vocabulary_(options.vocabulary),
        context_(options.context),
        tokens_(register_module("tokens", torch::nn::Embedding(options.vocabulary, options.width))),
        positions_(register_module("positions", torch::nn::Embedding(options.context, options.width))) {
    for (int64_t i = 0; i < options.layers; ++i)
      blocks_.push_back(
          register_module("block" + std::to_string(i + 1), std::make_shared<DecoderBlock>(options)));
    norm_ = register_module("norm", layer_norm(options.width));
    head_ = register_module("head", linear(options.width, options.vocabulary));
  }

  Tensor forward(const Tensor& tokens) {
    check(tokens);
    Tensor at = at::arange(tokens.size(1), tokens.options().dtype(at::kLong));
    Tensor x = tokens_->forward(tokens.to(at::kLong)) + positions_->forward(at);
    for (auto& block : blocks_) x = block->forward(x);
    return head_->forward(norm_->forward(x)).transpose(1, 2);
  }

 private:
  void check(const Tensor& tokens) const {
    if (!at::isIntegralType(tokens.scalar_type(), /*includeBool=*/false))
      fail_data(fmt::format("transformer: takes tokens, integers in [0, {}), the input is {}", vocabulary_,
                            c10::toString(tokens.scalar_type())));
    if (tokens.dim() != 2 || tokens.size(1) < 1 || tokens.size(1) > context_)
      fail_data(fmt::format(
          "transformer: takes tokens [examples, positions] with 1 to {} positions, the input has shape [{}]",
          context_, fmt::join(tokens.sizes(), ", ")));
    if (tokens.numel() == 0) return;
    auto [low, high] = at::aminmax(tokens);
    int64_t least = low.item<int64_t>(), most = high.item<int64_t>();
    if (least < 0 || most >= vocabulary_)
      fail_data(fmt::format("transformer: a token is {}: must be in [0, {}), the size of the vocabulary",
                            least < 0 ? least : most, vocabulary_));
  }

  int64_t vocabulary_, context_;
  torch::nn::Embedding tokens_, positions_;
  std::vector<std::shared_ptr<DecoderBlock>> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
};

}  // namespace

void TransformerOptions::check() const {
  check_sizes("vocabulary, context", {vocabulary, context}, 2);
  check_sizes("width, layers, heads", {width, layers, heads}, 3);
  if (width % heads != 0)
    fail_option("width", std::to_string(width), fmt::format("a multiple of heads = {}", heads));
  check_branching(initialization);
}

Model transformer(const TransformerOptions& options) {
  options.check();
  GlobalGeneratorKept kept;
  auto net = std::make_shared<Transformer>(options);
  initialize(*net, options.initialization);
  net->to(options.device, options.dtype);
  return Model(net, [raw = net.get()](const Model::Inputs& inputs) -> Model::Outputs {
    return {raw->forward(only_input(inputs))};
  });
}

}  // namespace osculant
