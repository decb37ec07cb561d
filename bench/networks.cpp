#include "bench/networks.h"

namespace osculant::bench {

namespace nn = torch::nn;

nn::Sequential dense_network() {
  std::vector<int64_t> widths = {784, 1024, 512, 256, 128, 64, 10};
  nn::Sequential net;
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    if (i) net->push_back(nn::Tanh());
    net->push_back(nn::Linear(widths[i], widths[i + 1]));
  }
  return net;
}

nn::Sequential convolutional_network() {
  return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(1, 16, 3).padding(1)), nn::ReLU(), nn::MaxPool2d(2),
                        nn::Conv2d(nn::Conv2dOptions(16, 32, 3).padding(1)), nn::ReLU(), nn::MaxPool2d(2),
                        nn::Flatten(), nn::Linear(1568, 64), nn::ReLU(), nn::Linear(64, 10));
}

void plain_gradient(nn::Sequential& net, const torch::Tensor& inputs, const torch::Tensor& labels,
                    int64_t batch_size) {
  net->zero_grad();
  auto examples = static_cast<double>(inputs.size(0));
  auto input_batches = inputs.split(batch_size), label_batches = labels.split(batch_size);
  for (size_t b = 0; b < input_batches.size(); ++b)
    nn::functional::cross_entropy(net->forward(input_batches[b]), label_batches[b],
                                  nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum))
        .div(examples)
        .backward();
}

}  // namespace osculant::bench
