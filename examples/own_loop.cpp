// A training loop as torch programs have it - a data loader, zero_grad, backward, step - where one line names
// another optimizer: osculant::optim::Soap in the place of torch::optim::Adam. Both are run, for comparison.
//
//   example_own_loop [IMAGES]    of Fashion-MNIST, 2,000 if not said
#include <torch/torch.h>

#include <cstdlib>
#include <iostream>

#include "osculant/data/fashion_mnist.h"
#include "osculant/optim/torch_optimizers.h"

struct Net : torch::nn::Module {
  Net()
      : first(register_module("first", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 5).stride(2)))),
        second(register_module("second", torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 16, 5).stride(2)))),
        last(register_module("last", torch::nn::Linear(256, 10))) {}

  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(first(x));
    x = torch::relu(second(x));
    return last(x.flatten(1));
  }

  torch::nn::Conv2d first, second;
  torch::nn::Linear last;
};

double accuracy(Net& net, const torch::Tensor& images, const torch::Tensor& labels) {
  torch::NoGradGuard no_grad;
  return net.forward(images).argmax(1).eq(labels).to(torch::kDouble).mean().item<double>();
}

template <class Optimizer>
void train(Net& net, Optimizer& optimizer, const torch::Tensor& images, const torch::Tensor& labels) {
  for (int epoch = 1; epoch <= 2; ++epoch) {
    torch::Tensor order = torch::randperm(images.size(0));
    for (const torch::Tensor& batch : order.split(64)) {
      optimizer.zero_grad();
      torch::nll_loss(torch::log_softmax(net.forward(images.index_select(0, batch)), 1),
                      labels.index_select(0, batch))
          .backward();
      optimizer.step();
    }
    std::cout << "  epoch " << epoch << ": training accuracy " << accuracy(net, images, labels) << "\n";
  }
}

int main(int argc, char** argv) {
  int64_t count = argc > 1 ? std::atoll(argv[1]) : 2000;
  auto batch = osculant::fashion_mnist(osculant::Split::train).take(count).scaled(255).examples();
  torch::Tensor images = batch.inputs[0].tensor, labels = batch.targets[0].tensor;

  torch::manual_seed(1);
  Net by_adam;
  torch::optim::Adam adam(by_adam.parameters(), 1e-3);
  std::cout << "torch::optim::Adam\n";
  train(by_adam, adam, images, labels);

  torch::manual_seed(1);
  Net by_soap;
  osculant::optim::Soap soap(by_soap.parameters(), {.learning_rate = 3e-3});
  std::cout << "osculant::optim::Soap\n";
  train(by_soap, soap, images, labels);
}
