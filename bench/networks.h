#pragma once

#include <torch/nn.h>

namespace osculant::bench {

// CA: tanh MLP 784-1024-512-256-128-64-10 with 1,501,770 parameters.
torch::nn::Sequential dense_network();

// CB: CNN for 28 x 28 images with 105,866 parameters.
torch::nn::Sequential convolutional_network();

// The mean cross entropy's gradient as a training loop has it: backward of each batch's share, added up in
// .grad.
void plain_gradient(torch::nn::Sequential& net, const torch::Tensor& inputs, const torch::Tensor& labels,
                    int64_t batch_size);

}  // namespace osculant::bench
