#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "osculant/model/zoo.h"

// What the networks of the zoo are made from.
namespace osculant::zoo_parts {

Tensor activated(Activation activation, const Tensor& x);

// Building a module draws from libtorch's global generator; the zoo leaves it as it was.
class GlobalGeneratorKept {
 public:
  GlobalGeneratorKept();
  ~GlobalGeneratorKept();
  GlobalGeneratorKept(const GlobalGeneratorKept&) = delete;
  GlobalGeneratorKept& operator=(const GlobalGeneratorKept&) = delete;

 private:
  Tensor state_;
};

// Weights and biases of every linear map and convolution in `module`, in the order of registration, from a
// random stream of the options' seed; embeddings standard normal, as torch begins them.
void initialize(torch::nn::Module& module, const InitializationOptions& options);

const Tensor& only_input(const Model::Inputs& inputs);

// The one input as [N, example_shape...], from any shape with as many entries an example.
Tensor reshaped_input(const Model::Inputs& inputs, const std::vector<int64_t>& example_shape);

void check_branching(const InitializationOptions& options);  // of a network that is no plain stack
void check_sizes(std::string_view field, const std::vector<int64_t>& sizes, size_t fewest);

}  // namespace osculant::zoo_parts
