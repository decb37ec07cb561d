#include <ATen/ATen.h>
#include <torch/nn.h>

#include <memory>
#include <numeric>
#include <string>

#include "osculant/model/zoo_parts.h"

namespace osculant {

using namespace zoo_parts;

namespace {

void push_norm(torch::nn::Sequential& net, Norm norm, int64_t channels) {
  switch (norm) {
    case Norm::group:
      return net->push_back("norm", torch::nn::GroupNorm(std::gcd(channels, int64_t{8}), channels));
    case Norm::layer:
      return net->push_back("norm", torch::nn::GroupNorm(1, channels));
    case Norm::batch:
      return net->push_back("norm", torch::nn::BatchNorm2d(channels));
    case Norm::none:
      return;
  }
}

// A convolution that keeps the size (stride 1) or halves it, and its norm.
torch::nn::Sequential convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride, Norm norm) {
  auto options =
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(norm == Norm::none);
  torch::nn::Sequential net;
  net->push_back("conv", torch::nn::Conv2d(options));
  push_norm(net, norm, out);
  return net;
}

// phi(F(x) + x)    (He et al. 2016, fig. 2)
class BasicBlock : public torch::nn::Module {
 public:
  BasicBlock(int64_t in, int64_t out, int64_t stride, const ResnetOptions& options)
      : activation_(options.activation),
        first_(register_module("first", convolution(in, out, 3, stride, options.norm))),
        second_(register_module("second", convolution(out, out, 3, 1, options.norm))) {
    if (in != out || stride != 1)
      shortcut_ = register_module("shortcut", convolution(in, out, 1, stride, options.norm));
  }

  Tensor forward(const Tensor& x) {
    Tensor y = second_->forward(activated(activation_, first_->forward(x)));
    return activated(activation_, y + (shortcut_.is_empty() ? x : shortcut_->forward(x)));
  }

 private:
  Activation activation_;
  torch::nn::Sequential first_, second_, shortcut_{nullptr};
};

class Resnet : public torch::nn::Module {
 public:
  explicit Resnet(const ResnetOptions& options)
      : activation_(options.activation),
        stem_(
            register_module("stem", convolution(options.channels, options.filters[0], 3, 1, options.norm))) {
    int64_t channels = options.filters[0];
    for (size_t stage = 0; stage < options.filters.size(); ++stage) {
      for (int64_t i = 0; i < options.blocks; ++i) {
        int64_t stride = stage > 0 && i == 0 ? 2 : 1;
        auto block = std::make_shared<BasicBlock>(channels, options.filters[stage], stride, options);
        blocks_.push_back(register_module("stage" + std::to_string(stage + 1) + "_" + std::to_string(i + 1),
                                          std::move(block)));
        channels = options.filters[stage];
      }
    }
    head_ = register_module("head", torch::nn::Linear(channels, options.outputs));
  }

  Tensor forward(Tensor x) {
    x = activated(activation_, stem_->forward(x));
    for (auto& block : blocks_) x = block->forward(x);
    return head_->forward(x.mean({2, 3}));
  }

 private:
  Activation activation_;
  torch::nn::Sequential stem_;
  std::vector<std::shared_ptr<BasicBlock>> blocks_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace

void ResnetOptions::check() const {
  check_sizes("input", {channels, height, width}, 3);
  check_sizes("filters", filters, 1);
  check_sizes("blocks, outputs", {blocks, outputs}, 2);
  check_branching(initialization);
}

Model resnet(const ResnetOptions& options) {
  options.check();
  GlobalGeneratorKept kept;
  auto net = std::make_shared<Resnet>(options);
  initialize(*net, options.initialization);
  net->to(options.device, options.dtype);
  std::vector<int64_t> shape{options.channels, options.height, options.width};
  return Model(net, [raw = net.get(), shape](const Model::Inputs& inputs) -> Model::Outputs {
    return {raw->forward(reshaped_input(inputs, shape))};
  });
}

}  // namespace osculant
