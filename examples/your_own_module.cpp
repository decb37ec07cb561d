// A module of your own, a loss of your own, several kinds of curvature, and training with Hessian-free
// optimisation: what a libtorch program does to use the library.
#include <torch/torch.h>

#include <iostream>

#include "osculant/osculant.h"

// Any module with a forward(Tensor): nothing about it is special.
struct ResidualNet : torch::nn::Module {
  torch::nn::Linear first{nullptr}, second{nullptr}, last{nullptr};

  ResidualNet() {
    first = register_module("first", torch::nn::Linear(8, 32));
    second = register_module("second", torch::nn::Linear(32, 32));
    last = register_module("last", torch::nn::Linear(32, 3));
  }
  torch::Tensor forward(torch::Tensor x) {
    auto h = torch::tanh(first(x));
    return last(h + torch::tanh(second(h)));
  }
};

int main() {
  torch::manual_seed(0);
  auto inputs = torch::randn({512, 8});
  auto labels = (inputs.select(1, 0) * inputs.select(1, 1) > 0).to(torch::kLong) +
                (inputs.select(1, 2) > 1).to(torch::kLong);
  auto net = std::make_shared<ResidualNet>();
  osculant::Dataset data(inputs, labels);
  osculant::Objective objective(net, osculant::CrossEntropy(), data.batches(256));

  std::cout << osculant::eigenpairs(osculant::Hessian(objective), {.count = 3}).report();
  std::cout << osculant::eigenpairs(osculant::GaussNewton(objective), {.count = 3}).report();

  auto summary =
      osculant::minimize(objective, osculant::methods::hessian_free(), {.steps = 20, .batch_size = 512});
  std::cout << summary.brief_report() << "\n";

  // A loss of your own: each example's loss from outputs and targets. Its derivatives come from autograd.
  auto focal = osculant::FunctionLoss([](const auto& outputs, const osculant::Batch& batch) {
    auto log_p = torch::log_softmax(outputs[0], 1).gather(1, batch.targets[0].tensor.unsqueeze(1)).squeeze(1);
    return -(1 - log_p.exp()).pow(2) * log_p;
  });
  osculant::Objective hard_examples(objective.terms()[0].model, focal, data.batches(256));
  std::cout << "focal loss: " << hard_examples.value() << "\n";
}
