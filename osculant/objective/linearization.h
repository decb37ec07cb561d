#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "osculant/base/random.h"
#include "osculant/objective/objective.h"

namespace osculant {

// What a Linearization will be asked for, told when it is made: nobody pays for what nobody asks.
struct Needs {
  bool gradient = false;
  bool hessian = false;       // Hessian products: gradient graphs, kept as far as the memory budget goes
  bool gauss_newton = false;  // Gauss-Newton and Jacobian products: graphs of the outputs and of J'u
  bool jacobian = false;      // the dense root of the Gauss-Newton matrix: graphs of the outputs
  bool outputs = false;       // the outputs themselves

  friend Needs operator|(Needs a, Needs b) {
    return {a.gradient || b.gradient, a.hessian || b.hessian, a.gauss_newton || b.gauss_newton,
            a.jacobian || b.jacobian, a.outputs || b.outputs};
  }
};

// A batch's outputs, as an OutputMap sees them.
struct OutputsOfBatch {
  size_t term;
  int64_t first;  // place of the batch's first example among the term's
  const Batch& batch;
  const OutputLoss::Implementation& loss;
  const std::vector<Tensor>& outputs;
};
// A symmetric map of what is shaped like a batch's outputs.
using OutputMap = std::function<std::vector<Tensor>(const OutputsOfBatch&, const std::vector<Tensor>& V)>;

// What a linearization holds, and why not more.
struct GraphReport {
  int64_t batches = 0;          // over all terms
  int64_t kept = 0;             // batches whose graphs are kept; products rebuild the others'
  int64_t bytes = 0;            // that the kept graphs take, measured
  int64_t bytes_per_batch = 0;  // of the largest batch, measured
  int64_t budget = 0;
  std::string str() const;  // "graphs of 12 of 20 batches kept (1.9 GiB of a budget of 2.0 GiB), ..."
};

// An objective frozen at theta on its data. Computes value and gradient at most once; applies the Hessian and
// the Gauss-Newton matrix to vectors and blocks from graphs kept within the objective's memory budget, and
// from rebuilt ones beyond it; charges the cost ledger for each. Throws Error(usage) when theta has moved
// since.
//
// Products of a kept graph (Pearlmutter 1994, by a second pass over the gradient's graph) and, for J v, the
// double-backward trick: J'u is linear in u, so differentiating it by u along v gives J v.
class Linearization {
 public:
  Linearization(Objective objective, Needs needs);
  ~Linearization();
  Linearization(const Linearization&) = delete;
  Linearization& operator=(const Linearization&) = delete;

  double value();
  const Tensor& gradient();  // [n]

  // V [n] or [n, k]; returns the same shape. H is that of the whole objective, regularisers included; G of
  // its data terms and of those regularisers that have one (Regularizer::gauss_newton_product: weight decay
  // does).
  Tensor hessian_product(const Tensor& V);
  Tensor gauss_newton_product(const Tensor& V);

  // V'G V, [k, k] float64 on the CPU for V [n, k], of the same G: half a product a column, since nothing is
  // pulled back through the network.
  Tensor gauss_newton_gram(const Tensor& V);

  // J' M J V over the data terms, divided as the objective is: M acts on the outputs of a batch. Gauss-Newton
  // has the loss's second derivative there, other matrices outer products of gradients.
  Tensor output_product(const Tensor& V, const OutputMap& M);
  // Of a term, weight / total denominator: what the sum over its examples is multiplied by.
  double scale(size_t term);

  // The data terms' outputs, flattened and joined over outputs, batches and terms: m entries in all.
  int64_t outputs_size();                              // m
  Tensor jacobian_product(const Tensor& v);            // J v: [n] -> [m]
  Tensor jacobian_transpose_product(const Tensor& w);  // J'w: [m] -> [n]

  // The outputs [m] where theta is now, which may have moved since; one forward pass.
  Tensor outputs_now();
  // J'M (z - z(theta)), z [m], M the loss's second derivative in the outputs at theta: a Gauss-Newton product
  // with the outputs' true change for J v.
  Tensor gauss_newton_difference(const Tensor& z);

  // An estimate, without bias, of the mean over examples of the squares of each example's gradient, [n];
  // those of several terms add up. By the signs of Chapelle & Erhan (2011): with s_i = +-1 at random, (sum of
  // s_i g_i)^2 has the expectation sum of g_i^2, entry by entry; `probes` of them are averaged, each a J'w.
  Tensor mean_squared_gradients(int64_t probes, RandomStream& random);

  // Visits the batches with A [m, n] and r [m], m outputs of a batch: the sum of A'A over batches is the
  // Gauss-Newton matrix of the data terms, without regularisers, and that of A'r their gradient, as far as
  // it is seen by curvature (all of it for mse; not where an output Hessian is singular, as Huber's beyond
  // delta). A = S'J, S S' the Hessian of an example's outputs, negative eigenvalues of which count as 0.
  // One pass a batch and output where layers tell all parameters (LayerRows), or where these enter by linear
  // maps and biases alone, in the forward pass or in derivatives that it takes; a pass a row otherwise.
  // Throws Error(memory) where A of a batch is larger than the memory budget.
  void gauss_newton_root(const std::function<void(const Tensor& A, const Tensor& r)>& visit);

  // The first regulariser whose value or gradient is not finite, by name, where the data terms' are; else "".
  std::string not_finite();

  const Objective& objective() const { return objective_; }
  const Needs& needs() const { return needs_; }
  GraphReport graphs();  // builds them if nobody has asked for a product yet

 private:
  struct State;
  void check_epoch() const;
  void first_pass();  // value, gradient and the graphs worth keeping, in one sweep over the data
  void sweep_penalties();
  Tensor penalty_product(const Tensor& V);
  void require(bool need, const char* what, const char* field) const;
  template <class Product>
  Tensor product(const Tensor& V, const char* what, bool with_regularizers, Product apply);

  Objective objective_;
  Needs needs_;
  std::unique_ptr<State> state_;
};

}  // namespace osculant
