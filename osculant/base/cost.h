#pragma once

#include <cstdint>

namespace osculant {

// Nominal prices in gradient equivalents (ge): 1 ge is one gradient over the whole training set, and the same
// work on b of N examples costs b/N of it. The prices are fixed, measured once on dense and convolutional
// networks (docs/design.md, "Cost"), so that a budget of 500 ge means the same run on every machine.
struct Price {
  static constexpr double forward = 1.0 / 3.0;  // value, or outputs
  static constexpr double gradient = 1.0;
  static constexpr double gradient_graph = 1.1;              // a gradient that can be differentiated again
  static constexpr double output_graph = 0.7;                // J'u for J v and J'w, on top of a forward pass
  static constexpr double hessian_product = 1.5;             // from a kept graph
  static constexpr double hessian_product_recomputed = 2.6;  // graph built and dropped
  static constexpr double gauss_newton_product = 1.2;
  static constexpr double gauss_newton_product_recomputed = 2.2;
  static constexpr double jacobian_product = 0.6;            // J v alone, from a kept graph
  static constexpr double jacobian_transpose_product = 0.6;  // J'w alone, from a kept graph
  static constexpr double layer_derivatives = 1.0 / 3.0;     // J'w by the layers' outputs alone, the same
  // For regularisers: derivatives in theta of w'H p and w'G p from the graph of the product, and a pass back
  // through the graph of such a derivative, as a multiple of it.
  static constexpr double hessian_derivative = 2.5;
  static constexpr double gauss_newton_derivative = 1.8;
  static constexpr double second_pass = 2.5;
};

// What a piece of work has cost. `Linearization` and `Objective` alone charge it.
class CostLedger {
 public:
  // `count` pieces of work at `price` on the share `examples / total` of the training set.
  void charge(double price, double examples, double total, double count = 1) {
    gradient_equivalents_ += price * count * (total > 0 ? examples / total : 1.0);
  }
  void count_products(int64_t vectors) { products_ += vectors; }
  void count_gradients() { ++gradients_; }

  double gradient_equivalents() const { return gradient_equivalents_; }
  int64_t products() const { return products_; }    // vectors multiplied by a curvature matrix
  int64_t gradients() const { return gradients_; }  // gradients evaluated, on batches of whatever size

  // A run that resumes goes on counting from what its checkpoint had.
  void restore(double gradient_equivalents, int64_t products, int64_t gradients) {
    gradient_equivalents_ = gradient_equivalents;
    products_ = products;
    gradients_ = gradients;
  }

 private:
  double gradient_equivalents_ = 0;
  int64_t products_ = 0;
  int64_t gradients_ = 0;
};

}  // namespace osculant
