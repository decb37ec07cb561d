#pragma once

#include <torch/torch.h>

#include <iostream>
#include <memory>
#include <vector>

#include "osculant/optim/torch_optimizers.h"
#include "osculant/osculant.h"
#include "osculant/study/training_watch.h"

// What the programs in the documentation take for granted. docs_test.py puts each into a function of its own,
// after OSCULANT_EXCERPT, and compiles and runs them all.
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"

namespace excerpts {

inline osculant::TrainConfig by_sgd() {
  osculant::TrainConfig train;
  train.method = "sgd";
  return train;
}

struct World {
  torch::nn::Sequential net{torch::nn::Linear(4, 6), torch::nn::Tanh(), torch::nn::Linear(6, 3)};
  torch::Tensor images = torch::randn({32, 4}), labels = torch::randint(0, 3, {32}, torch::kLong);
  osculant::Dataset data{images, labels};
  osculant::Objective objective{net, osculant::CrossEntropy(), data.batches(16)};
  osculant::Hessian H{objective};
  osculant::EigenResult pairs = osculant::eigenpairs(H, {.count = 3});
  osculant::TrainConfig train = by_sgd();
  osculant::Stepper stepper{objective, osculant::methods::sgd(), {}};
  torch::Tensor subspace = torch::randn({objective.layout().size(), 3});

  struct Example {
    torch::Tensor data, target;
  };
  std::unique_ptr<std::vector<Example>> loader{new std::vector<Example>{{images, labels}, {images, labels}}};
};

inline torch::Tensor my_loss(torch::nn::Sequential& net) {
  return net->forward(torch::ones({8, 4})).square().mean();
}
inline void use(const torch::Tensor& vectors, const torch::Tensor& values) {
  TORCH_CHECK(vectors.size(1) == values.size(0));
}

}  // namespace excerpts

#define OSCULANT_EXCERPT                                                                            \
  using namespace osculant;                                                                         \
  using namespace excerpts;                                                                         \
  World world;                                                                                      \
  [[maybe_unused]] auto& [net, images, labels, data, objective, H, pairs, train, stepper, subspace, \
                          loader] = world;
