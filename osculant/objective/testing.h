#pragma once

#include <torch/nn.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "osculant/data/dataset.h"
#include "osculant/objective/differentiate.h"
#include "osculant/objective/layer_factors.h"

namespace osculant {

// A network of float64 whose layers are tapped, with a batch: what closed forms by layer are compared on.
struct LayerCase {
  struct Made {
    Objective objective;
    Batch batch;
  };
  std::string name;
  std::vector<std::string> untapped;  // parameters
  bool disjoint;                      // no parameter is used by two layers
  std::function<Made()> make;
};
inline void PrintTo(const LayerCase& layer_case, std::ostream* out) {
  *out << layer_case.name;
}

namespace layer_case {

inline Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::kDouble);
}

using Function = std::function<Tensor(const std::vector<Tensor>& parameters, const Tensor& x)>;

// mse at random targets of a function of parameters p0, p1, ... of these shapes.
inline LayerCase of_function(std::string name, const std::vector<std::vector<int64_t>>& shapes,
                             const Tensor& x, const Function& f, std::vector<std::string> untapped = {},
                             bool disjoint = true) {
  auto make = [=] {
    std::vector<NamedTensor> named;
    std::vector<Tensor> parameters;
    for (size_t i = 0; i < shapes.size(); ++i) {
      parameters.push_back(normal(shapes[i], 10 + i) * 0.7);
      named.push_back({"p" + std::to_string(i), parameters.back().requires_grad_()});
    }
    Model model(named, [=](const Model::Inputs& inputs) { return Model::Outputs{f(parameters, inputs[0])}; });
    at::NoGradGuard no_grad;
    Tensor y = normal(f(parameters, x).sizes(), 5);
    Batch batch{{{"", x}}, {{"", y}}, {}};
    return LayerCase::Made{Objective(model, MeanSquaredError(), Dataset(x, y).full()), batch};
  };
  return {std::move(name), std::move(untapped), disjoint, make};
}

template <class Module>
Objective of_module(const std::shared_ptr<Module>& module, const Model::Forward& forward, const Tensor& x) {
  module->to(at::kDouble);
  module->eval();
  for (auto& p : module->parameters()) p.data().copy_(normal(p.sizes(), 20 + p.numel()) * 0.5);
  Model model(module, forward);
  at::NoGradGuard no_grad;
  Tensor y = normal(model.forward(Model::Inputs{x})[0].sizes(), 5);
  return {model, MeanSquaredError(), Dataset(x, y).full()};
}

template <class Module>
LayerCase of_sequence(std::string name, std::function<std::shared_ptr<Module>()> build,
                      std::function<Tensor(Module&, const Tensor&)> forward, const Tensor& x,
                      std::vector<std::string> untapped = {}, bool disjoint = true) {
  auto make = [=] {
    auto module = build();
    auto run = [module, forward](const Model::Inputs& inputs) {
      return Model::Outputs{forward(*module, inputs[0])};
    };
    Objective objective = of_module(module, run, x);
    return LayerCase::Made{objective, objective.batch(0, 0)};
  };
  return {std::move(name), std::move(untapped), disjoint, make};
}

inline LayerCase of_layers(std::string name, const std::function<torch::nn::Sequential()>& build,
                           const Tensor& x) {
  using Net = torch::nn::SequentialImpl;
  return of_sequence<Net>(
      std::move(name), [=] { return build().ptr(); },
      [](Net& net, const Tensor& input) { return net.forward(input); }, x);
}

// Examples are the second dimension inside, as torch::nn has it.
inline LayerCase attention(const std::string& name, bool crossed) {
  using Attention = torch::nn::MultiheadAttentionImpl;
  return of_sequence<Attention>(
      name, [] { return std::make_shared<Attention>(4, 2); },
      [=](Attention& net, const Tensor& x) {
        Tensor q = x.transpose(0, 1), kv = crossed ? q.sin() : q;
        return std::get<0>(net.forward(q, kv, kv)).transpose(0, 1);
      },
      normal({3, 5, 4}, 4));
}

}  // namespace layer_case

inline std::vector<LayerCase> layer_cases() {
  using namespace torch::nn;
  using namespace layer_case;
  using P = const std::vector<Tensor>&;
  Tensor tokens = at::tensor({0, 1, 2, 5, 1, 1, 3, 0, 4, 2, 2, 2}, at::kLong).view({3, 4});
  return {
      of_layers(
          "linear",
          [] {
            return Sequential(Linear(3, 4), Tanh(), Linear(LinearOptions(4, 5).bias(false)),
                              ReLU(ReLUOptions(true)), Linear(5, 2));
          },
          normal({6, 3}, 1)),
      of_layers(
          "convolution",
          [] {
            return Sequential(Conv2d(Conv2dOptions(2, 4, {3, 2}).stride({2, 1}).padding({1, 0})), Tanh(),
                              Conv2d(Conv2dOptions(4, 6, 2).dilation(2).groups(2)), Tanh(),
                              Conv2d(Conv2dOptions(6, 3, 2).padding(torch::kSame).bias(false)), Flatten(),
                              Linear(12, 2));
          },
          normal({3, 2, 7, 5}, 1)),
      of_layers(
          "convolutions_of_other_dimensions",
          [] {
            return Sequential(
                Conv3d(Conv3dOptions(1, 2, {1, 2, 2})), Tanh(), Flatten(FlattenOptions().start_dim(2)),
                Conv1d(Conv1dOptions(2, 2, 3).stride(2).padding(2).groups(2)), Flatten(), Linear(10, 1));
          },
          normal({2, 1, 2, 3, 3}, 1)),
      of_layers(
          "sequence", [] { return Sequential(Linear(3, 4), Tanh(), Linear(4, 2)); }, normal({3, 5, 3}, 1)),
      of_function("linear_by_products", {{3, 4}, {4}, {2, 4}, {2}}, normal({5, 3}, 1),
                  [](P p, const Tensor& x) {
                    return at::addmm(p[3], at::tanh(at::matmul(x, p[0]) + p[1]), p[2].t());
                  }),
      of_function(
          "rows_of_positions_first", {{4, 3}, {4}, {2, 4}}, normal({3, 5, 3}, 1),
          [](P p, const Tensor& x) {
            int64_t N = x.size(0);
            Tensor rows = x.transpose(0, 1).reshape({5 * N, 3});
            return at::linear(at::linear(rows, p[0], p[1]).tanh(), p[2]).view({5, N, 2}).transpose(0, 1);
          }),
      of_function("embedding", {{6, 4}, {4, 4}, {2, 4}}, tokens,
                  [](P p, const Tensor& x) {
                    return at::linear((at::embedding(p[0], x, 2) + p[1]).tanh().mean(1), p[2]);
                  }),
      of_layers(
          "normalization",
          [] {
            return Sequential(Conv2d(2, 4, 2), GroupNorm(2, 4), Tanh(), BatchNorm2d(4), Tanh(),
                              LayerNorm(LayerNormOptions({2, 3})), Flatten(), Linear(24, 2),
                              LayerNorm(LayerNormOptions({2})));
          },
          normal({3, 2, 3, 4}, 1)),
      of_function(
          "tied", {{6, 4}, {4, 4}, {4}}, tokens,
          [](P p, const Tensor& x) {
            Tensor h = at::linear(at::embedding(p[0], x), p[1], p[2]).tanh();
            return at::matmul(at::linear(h, p[1], p[2]), p[0].t());
          },
          {}, false),
      attention("attention", false),
      attention("cross_attention", true),
      of_function("partly_tapped", {{4, 3}, {4}, {4, 4}, {2, 4}, {2}, {3}, {2}}, normal({5, 3}, 1),
                  [](P p, const Tensor& x) {
                    Tensor h = at::linear(x, p[0], p[1]).tanh() * p[1];  // p1 otherwise too
                    Tensor u = at::matmul(p[2], h.t()).t();              // from the left
                    Tensor v = at::matmul(u, p[3].t()), w = v + p[4];    // v is used apart from its bias
                    return v * w + p[6];                                 // p5 never
                  },
                  {"p1", "p2", "p4", "p5"}),
  };
}

// A family for the factors' outputs.
inline LayerFactors::Cotangents random_columns(const LayerFactors& factors, int64_t columns, uint64_t seed) {
  LayerFactors::Cotangents u;
  RandomStream random(seed, "test");
  for (const Tensor& z : factors.outputs()) {
    auto shape = z.sizes().vec();
    shape.insert(shape.begin(), columns);
    u.push_back(random.normal(shape, at::kDouble));
  }
  return u;
}

// A gradient of autograd for each row: [C, N, n].
inline Tensor autograd_rows(const LayerFactors& factors, const LayerFactors::Cotangents& cotangents) {
  const auto& layout = factors.objective().layout();
  std::vector<Tensor> rows;
  for (int64_t c = 0; c < cotangents[0].size(0); ++c)
    for (int64_t i = 0; i < factors.examples(); ++i) {
      std::vector<Tensor> w;
      for (const Tensor& family : cotangents) {
        w.push_back(at::zeros_like(family[c]));
        w.back()[i].copy_(family[c][i]);
      }
      rows.push_back(layout.flatten(grad_of(factors.outputs(), layout.leaves(), w)));
    }
  return at::stack(rows).view({cotangents[0].size(0), factors.examples(), -1});
}

}  // namespace osculant
