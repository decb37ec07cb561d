#pragma once

#include <torch/nn.h>

namespace osculant::bench {

// CA: tanh MLP 784-1024-512-256-128-64-10 with 1,501,770 parameters.
torch::nn::Sequential dense_network();

// CB: CNN for 28 x 28 images with 105,866 parameters.
torch::nn::Sequential convolutional_network();

}  // namespace osculant::bench
