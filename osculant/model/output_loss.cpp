#include "osculant/model/output_loss.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <optional>

#include "osculant/base/error.h"

namespace osculant {
namespace {

std::string shape_of(const Tensor& t) {
  return fmt::format("[{}]", fmt::join(t.sizes(), ", "));
}

std::string dtype_of(const Tensor& t) {
  return c10::toString(t.scalar_type());
}

// Position `flat` of a tensor of this shape, as "[17, 3]".
std::string position_in(at::IntArrayRef shape, int64_t flat) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0; flat /= shape[d]) index[d] = flat % shape[d];
  return fmt::format("[{}]", fmt::join(index, ", "));
}

struct Range {
  double low, high;
};

// Refuses entries outside [low, high] and NaN. One pass and one transfer where all is well.
void require_within(const char* what, const std::string& loss, const Tensor& t, Range range,
                    const std::string& constraint) {
  if (t.numel() == 0) return;
  // Bool and wide unsigned integers have no aminmax.
  auto [low, high] = at::aminmax(t.is_floating_point() ? t : t.to(at::kLong));
  auto ends = at::stack({low, high}).to(at::kCPU, at::kDouble);
  const double* end = ends.const_data_ptr<double>();
  if (end[0] >= range.low && end[1] <= range.high) return;  // false for NaN
  auto value = t.to(at::kDouble);
  auto bad = value.ge(range.low).logical_and_(value.le(range.high)).logical_not_();
  int64_t first = bad.flatten().nonzero()[0].item<int64_t>();
  fail_data(fmt::format("{}: {}{} = {} (position in its batch): must be {}", loss, what,
                        position_in(t.sizes(), first), value.flatten()[first].item<double>(), constraint));
}

constexpr double kLargest = std::numeric_limits<double>::max();

void check_weights(const std::string& loss, const Batch& batch, int64_t examples) {
  const Tensor& w = batch.weights;
  if (!w.defined()) return;
  if (w.dim() != 1 || w.size(0) != examples)
    fail_data(fmt::format("{}: example weights have shape {}; {} examples need [{}]", loss, shape_of(w),
                          examples, examples));
  require_within("weights", loss, w, {0, kLargest}, "finite and >= 0");
}

void check_one_output(const std::string& loss, const OutputLoss::Outputs& outputs, const Batch& batch) {
  if (outputs.size() != 1)
    fail_data(fmt::format("{}: takes one output, the model gives {}", loss, outputs.size()));
  if (batch.targets.size() != 1)
    fail_data(fmt::format("{}: takes one target, the data have {}", loss, batch.targets.size()));
  const Tensor &z = outputs[0], &y = batch.targets[0].tensor;
  if (!z.is_floating_point())
    fail_data(fmt::format("{}: outputs are {}: must be floating point", loss, dtype_of(z)));
  if (y.is_complex()) fail_data(fmt::format("{}: targets are {}: must be real", loss, dtype_of(y)));
  if (y.is_floating_point() && y.scalar_type() != z.scalar_type())
    fail_data(fmt::format("{}: outputs are {}, targets {}; cast the data to the model's dtype", loss,
                          dtype_of(z), dtype_of(y)));
  if (y.device() != z.device())
    fail_data(fmt::format("{}: outputs are on {}, targets on {}", loss, z.device().str(), y.device().str()));
  if (z.dim() == 0 || y.dim() == 0)
    fail_data(fmt::format("{}: outputs have shape {}, targets {}: the first dimension must be the example",
                          loss, shape_of(z), shape_of(y)));
}

// Example weights [N] shaped to multiply something of `dims` dimensions whose first is the example.
Tensor example_weights(const Batch& batch, int64_t dims, at::TensorOptions options) {
  std::vector<int64_t> shape(static_cast<size_t>(dims), 1);
  shape[0] = -1;
  return batch.weights.to(options).view(shape);
}

Tensor weighted(const Tensor& values, const Batch& batch) {
  return batch.weights.defined() ? values * example_weights(batch, values.dim(), values.options()) : values;
}

// Number of examples, or the sum of their weights, times `share`.
Tensor count_examples(const Tensor& z, const Batch& batch, double share) {
  if (batch.weights.defined()) return batch.weights.to(z.device()).sum(at::kDouble) * share;
  return at::full({}, static_cast<double>(z.size(0)) * share,
                  z.options().dtype(at::kDouble).requires_grad(false));
}

double entries_per_example(const Tensor& t) {
  return t.size(0) == 0 ? 1.0 : static_cast<double>(t.numel()) / static_cast<double>(t.size(0));
}

// sum over i, k of w_i l(z_ik, y_ik): losses whose Hessian in the outputs is diagonal.
class ElementwiseLoss : public OutputLoss::Implementation {
 public:
  explicit ElementwiseLoss(OutputReduction reduction) : reduction_(reduction) {}

  void check(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    check_one_output(name(), outputs, batch);
    const Tensor &z = outputs[0], &y = batch.targets[0].tensor;
    if (z.sizes() != y.sizes())
      fail_data(fmt::format("{}: outputs have shape {}, targets {}: must be the same", name(), shape_of(z),
                            shape_of(y)));
    check_targets(y);
    check_weights(name(), batch, z.size(0));
  }

  Tensor sum(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    const Tensor& z = outputs[0];
    auto y = target(z, batch);
    if (!batch.weights.defined()) return loss(z, y, at::Reduction::Sum);
    return weighted(loss(z, y, at::Reduction::None), batch).sum();
  }

  Tensor denominator(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    double share = reduction_ == OutputReduction::mean ? entries_per_example(outputs[0]) : 1.0;
    return count_examples(outputs[0], batch, share);
  }

  OutputLoss::Outputs hessian_product(const OutputLoss::Outputs& outputs, const Batch& batch,
                                      const OutputLoss::Outputs& V) const override {
    return {weighted(curvature(outputs[0], target(outputs[0], batch), V[0]), batch)};
  }

  bool convex() const override { return true; }

 protected:
  virtual void check_targets(const Tensor& y) const {
    require_within("targets", name(), y, {-kLargest, kLargest}, "finite");
  }
  virtual Tensor loss(const Tensor& z, const Tensor& y, int64_t reduction) const = 0;
  virtual Tensor curvature(const Tensor& z, const Tensor& y, const Tensor& V) const = 0;  // l''(z, y) V

 private:
  static Tensor target(const Tensor& z, const Batch& batch) {
    return batch.targets[0].tensor.to(z.scalar_type());  // integers: labels of 0 and 1, counts
  }

  OutputReduction reduction_;
};

class MeanSquaredErrorLoss : public ElementwiseLoss {
 public:
  using ElementwiseLoss::ElementwiseLoss;
  std::string name() const override { return "mse"; }
  std::shared_ptr<const Likelihood> likelihood() const override { return gaussian_likelihood(); }

 protected:
  Tensor loss(const Tensor& z, const Tensor& y, int64_t reduction) const override {
    return at::mse_loss(z, y, reduction);
  }
  Tensor curvature(const Tensor& z, const Tensor& y, const Tensor& V) const override { return 2 * V; }
};

class BinaryCrossEntropyLoss : public ElementwiseLoss {
 public:
  using ElementwiseLoss::ElementwiseLoss;
  std::string name() const override { return "binary_cross_entropy"; }
  std::shared_ptr<const Likelihood> likelihood() const override { return bernoulli_likelihood(); }

 protected:
  void check_targets(const Tensor& y) const override {
    require_within("targets", name(), y, {0, 1}, "between 0 and 1");
  }
  Tensor loss(const Tensor& z, const Tensor& y, int64_t reduction) const override {
    return at::binary_cross_entropy_with_logits(z, y, {}, {}, reduction);
  }
  // s (1 - s) with 1 - s(z) = s(-z), which does not cancel for large z.
  Tensor curvature(const Tensor& z, const Tensor& y, const Tensor& V) const override {
    return at::sigmoid(z) * at::sigmoid(-z) * V;
  }
};

// d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) beyond (Huber 1964).
class HuberLoss : public ElementwiseLoss {
 public:
  explicit HuberLoss(const HuberOptions& options) : ElementwiseLoss(options.outputs), delta_(options.delta) {}
  std::string name() const override { return "huber"; }

 protected:
  Tensor loss(const Tensor& z, const Tensor& y, int64_t reduction) const override {
    return at::huber_loss(z, y, reduction, delta_);
  }
  Tensor curvature(const Tensor& z, const Tensor& y, const Tensor& V) const override {
    return (z - y).abs().lt(delta_) * V;
  }

 private:
  double delta_;
};

class PoissonLoss : public ElementwiseLoss {
 public:
  using ElementwiseLoss::ElementwiseLoss;
  std::string name() const override { return "poisson"; }
  std::shared_ptr<const Likelihood> likelihood() const override { return poisson_likelihood(); }

 protected:
  void check_targets(const Tensor& y) const override {
    require_within("targets", name(), y, {0, kLargest}, "a finite count >= 0");
  }
  Tensor loss(const Tensor& z, const Tensor& y, int64_t reduction) const override {
    return at::poisson_nll_loss(z, y, /*log_input=*/true, /*full=*/false, /*eps=*/1e-8, reduction);
  }
  Tensor curvature(const Tensor& z, const Tensor& y, const Tensor& V) const override { return z.exp() * V; }
};

// With t the targets (one-hot for class indices), c the class weights, s the smoothing and p = softmax(z), at
// each position: a_k = c_k ((1 - s) t_k + s / K), l = -sum_k a_k log p_k, d2l/dz2 = A (diag(p) - p p'),
// A = sum_k a_k.
class CrossEntropyLoss : public OutputLoss::Implementation {
 public:
  explicit CrossEntropyLoss(CrossEntropyOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "cross_entropy"; }
  bool convex() const override { return true; }
  std::shared_ptr<const Likelihood> likelihood() const override {
    bool plain = options_.label_smoothing == 0 && !options_.class_weights.defined();
    return plain ? categorical_likelihood() : nullptr;
  }

  void check(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    check_one_output(name(), outputs, batch);
    const Tensor &z = outputs[0], &y = batch.targets[0].tensor;
    if (z.dim() < 2)
      fail_data(
          fmt::format("{}: outputs have shape {}: must be [examples, classes] or [examples, classes, ...]",
                      name(), shape_of(z)));
    check_class_weights(z);
    if (y.is_floating_point())
      check_probabilities(z, y);
    else
      check_indices(z, y);
    check_weights(name(), batch, z.size(0));
  }

  Tensor sum(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    const Tensor& z = outputs[0];
    auto reduction = batch.weights.defined() ? at::Reduction::None : at::Reduction::Sum;
    std::optional<Tensor> class_weights;
    if (options_.class_weights.defined()) class_weights = options_.class_weights.to(z.options());
    auto loss = at::cross_entropy_loss(z, targets(batch), class_weights, reduction, /*ignore_index=*/-100,
                                       options_.label_smoothing);
    return batch.weights.defined() ? weighted(loss, batch).sum() : loss;
  }

  // torch divides by the class weights of the labels; with probabilities by the number of positions.
  Tensor denominator(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    const Tensor& z = outputs[0];
    double positions = entries_per_example(z) / static_cast<double>(z.size(1));
    double share = options_.outputs == OutputReduction::mean ? positions : 1.0;
    if (!options_.class_weights.defined() || has_probabilities(batch)) return count_examples(z, batch, share);
    return weighted(class_weight_of_labels(batch, z.options().dtype(at::kDouble)), batch).sum() *
           (share / positions);
  }

  OutputLoss::Outputs hessian_product(const OutputLoss::Outputs& outputs, const Batch& batch,
                                      const OutputLoss::Outputs& V) const override {
    auto p = at::softmax(outputs[0], 1);
    auto pv = p * V[0];
    return {weighted(scaled_by_mass(pv - p * pv.sum(1, /*keepdim=*/true), batch), batch)};
  }

  // Tanabe & Sagae 1992, theorem 1: diag(p) - p p' = L D L' with K - 1 columns, q_k = p_{k+1} + ... + p_K and
  // D_k = p_k q_k / q_{k-1}, L_ik = -p_i / q_k below the diagonal of ones. Sums of probabilities lose no
  // digits. w sums to 0 at each position, so that L^-1 w is w_k - p_k / q_{k-1} (w_k + ... + w_K).
  std::optional<Root> hessian_root(const Tensor& z, const Batch& batch, const Tensor& w) const override {
    int64_t N = z.size(0), K = z.size(1), C = K - 1;
    if (C == 0) return std::nullopt;
    auto from_here = [](const Tensor& t) { return t.flip(1).cumsum(1).flip(1); };
    auto ratio = [](const Tensor& a, const Tensor& b) { return at::where(b > 0, a / b, 0); };
    Tensor p = at::softmax(z, 1).reshape({N, K, -1});  // [N, K, T]
    Tensor q = from_here(p), first = p.narrow(1, 0, C), before = q.narrow(1, 0, C), after = q.narrow(1, 1, C);
    Tensor mass = weighted(scaled_by_mass(at::ones_like(z), batch), batch).reshape({N, K, -1});
    Tensor root = (mass.narrow(1, 0, C) * first * ratio(after, before)).sqrt();  // of D, [N, C, T]
    Tensor below = at::ones({K, C}, z.options().dtype(at::kBool)).tril(-1).unsqueeze(2);
    Tensor L = at::eye(K, C, z.options()).unsqueeze(2) -
               at::where(below, ratio(p.unsqueeze(2), after.unsqueeze(1)), 0);
    Tensor W = w.reshape({N, K, -1});
    Tensor t = W.narrow(1, 0, C) - ratio(first, before) * from_here(W).narrow(1, 0, C);
    int64_t T = p.size(2);
    Tensor S = L * root.unsqueeze(1);  // [N, K, C, T]
    if (T > 1) S = at::diag_embed(S).permute({0, 1, 3, 2, 4});
    return Root{S.reshape({N, K * T, C * T}), ratio(t, root).reshape({N, C * T})};
  }

 private:
  static bool has_probabilities(const Batch& batch) { return batch.targets[0].tensor.is_floating_point(); }

  static Tensor targets(const Batch& batch) {
    const Tensor& y = batch.targets[0].tensor;
    return y.is_floating_point() ? y : y.to(at::kLong);
  }

  Tensor class_weight_of_labels(const Batch& batch, at::TensorOptions options) const {
    auto labels = targets(batch);
    return options_.class_weights.to(options).index_select(0, labels.flatten()).view(labels.sizes());
  }

  // A * product, A [N, 1, d...] the mass of the targets at each position.
  Tensor scaled_by_mass(const Tensor& product, const Batch& batch) const {
    const Tensor& c = options_.class_weights;
    double s = options_.label_smoothing;
    if (!has_probabilities(batch)) {
      if (!c.defined()) return product;
      auto mean_weight = c.to(product.options()).mean();
      return product *
             ((1 - s) * class_weight_of_labels(batch, product.options()) + s * mean_weight).unsqueeze(1);
    }
    auto a = (1 - s) * targets(batch) + s / static_cast<double>(product.size(1));
    if (c.defined()) {
      std::vector<int64_t> shape(static_cast<size_t>(a.dim()), 1);
      shape[1] = -1;
      a = a * c.to(product.options()).view(shape);
    }
    return product * a.sum(1, /*keepdim=*/true);
  }

  void check_class_weights(const Tensor& z) const {
    const Tensor& c = options_.class_weights;
    if (c.defined() && c.size(0) != z.size(1))
      fail_usage(fmt::format("cross_entropy: class_weights has {} entries, the outputs {} have {} classes",
                             c.size(0), shape_of(z), z.size(1)));
  }

  void check_probabilities(const Tensor& z, const Tensor& y) const {
    if (y.sizes() != z.sizes())
      fail_data(
          fmt::format("{}: outputs have shape {}, floating-point targets {}: probabilities must have the "
                      "shape of the outputs, class indices must be integers",
                      name(), shape_of(z), shape_of(y)));
    require_within("targets", name(), y, {0, 1}, "between 0 and 1");
  }

  void check_indices(const Tensor& z, const Tensor& y) const {
    auto expected = z.sizes().vec();
    expected.erase(expected.begin() + 1);
    if (y.sizes() != at::IntArrayRef(expected))
      fail_data(fmt::format("{}: outputs have shape {}, class indices {}: must be [{}]", name(), shape_of(z),
                            shape_of(y), fmt::join(expected, ", ")));
    int64_t classes = z.size(1);
    require_within("label ", name(), y, {0, static_cast<double>(classes - 1)},
                   fmt::format("between 0 and {}, the outputs having {} classes", classes - 1, classes));
  }

  CrossEntropyOptions options_;
};

class FunctionOutputLoss : public OutputLoss::Implementation {
 public:
  FunctionOutputLoss(LossFunction per_example, bool convex, std::string name)
      : per_example_(std::move(per_example)), convex_(convex), name_(std::move(name)) {}

  std::string name() const override { return name_; }
  bool convex() const override { return convex_; }

  void check(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    if (outputs.empty()) fail_data(fmt::format("{}: the model gives no output", name_));
    check_weights(name_, batch, batch.size());
  }

  Tensor sum(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    auto losses = per_example_(outputs, batch);
    if (!losses.defined() || losses.dim() != 1 || losses.size(0) != batch.size())
      fail_usage(fmt::format("{}: the loss function returned {}; it must return each example's loss, [{}]",
                             name_, losses.defined() ? shape_of(losses) : "an undefined tensor",
                             batch.size()));
    return weighted(losses, batch).sum();
  }

  Tensor denominator(const OutputLoss::Outputs& outputs, const Batch& batch) const override {
    auto options = outputs[0].options().dtype(at::kDouble).requires_grad(false);
    if (batch.weights.defined()) return batch.weights.to(options).sum();
    return at::full({}, static_cast<double>(batch.size()), options);
  }

 private:
  LossFunction per_example_;
  bool convex_;
  std::string name_;
};

// grad(value, x; direction) with zeros for what value does not depend on.
std::vector<Tensor> gradient_or_zeros(const std::vector<Tensor>& value, const std::vector<Tensor>& x,
                                      const std::vector<Tensor>& direction, bool create_graph) {
  auto g = torch::autograd::grad(value, x, direction, /*retain_graph=*/std::nullopt, create_graph,
                                 /*allow_unused=*/true);
  for (size_t i = 0; i < g.size(); ++i)
    if (!g[i].defined()) g[i] = at::zeros_like(x[i]);
  return g;
}

}  // namespace

OutputLoss::Outputs OutputLoss::Implementation::hessian_product(const Outputs& outputs, const Batch& batch,
                                                                const Outputs& V) const {
  at::AutoGradMode on(true);
  Outputs z, leaves, directions, product;
  for (size_t i = 0; i < outputs.size(); ++i) {
    z.push_back(outputs[i].detach());
    product.push_back(at::zeros_like(z[i]));
    if (z[i].is_floating_point()) leaves.push_back(z[i].requires_grad_());
  }
  auto value = sum(z, batch);
  if (!value.requires_grad()) return product;
  auto gradient = gradient_or_zeros({value}, leaves, {}, /*create_graph=*/true);

  std::vector<Tensor> curved;  // a gradient that is constant in the outputs has no graph
  for (size_t i = 0, leaf = 0; i < outputs.size(); ++i) {
    if (!z[i].is_floating_point()) continue;
    if (gradient[leaf].requires_grad()) {
      curved.push_back(gradient[leaf]);
      directions.push_back(V[i].detach());
    }
    ++leaf;
  }
  if (curved.empty()) return product;
  auto found = gradient_or_zeros(curved, leaves, directions, /*create_graph=*/false);
  for (size_t i = 0, leaf = 0; i < outputs.size(); ++i)
    if (z[i].is_floating_point()) product[i] = found[leaf++];
  return product;
}

void CrossEntropyOptions::check() const {
  require_between("label_smoothing", label_smoothing, 0, 1);
  if (!class_weights.defined()) return;
  if (class_weights.dim() != 1 || class_weights.size(0) == 0)
    fail_option("class_weights", "a tensor of shape " + shape_of(class_weights),
                "a vector, one entry a class");
  auto w = class_weights.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t k = 0; k < w.size(0); ++k) {
    double value = w.const_data_ptr<double>()[k];
    if (!(value >= 0 && std::isfinite(value)))
      fail_option(fmt::format("class_weights[{}]", k), fmt::format("{}", value), "finite and >= 0");
  }
}

void HuberOptions::check() const {
  require_positive("delta", delta);
}

OutputLoss MeanSquaredError(const MeanSquaredErrorOptions& options) {
  return OutputLoss(std::make_shared<MeanSquaredErrorLoss>(options.outputs));
}

OutputLoss CrossEntropy(const CrossEntropyOptions& options) {
  options.check();
  return OutputLoss(std::make_shared<CrossEntropyLoss>(options));
}

OutputLoss BinaryCrossEntropy(const BinaryCrossEntropyOptions& options) {
  return OutputLoss(std::make_shared<BinaryCrossEntropyLoss>(options.outputs));
}

OutputLoss Huber(const HuberOptions& options) {
  options.check();
  return OutputLoss(std::make_shared<HuberLoss>(options));
}

OutputLoss Poisson(const PoissonOptions& options) {
  return OutputLoss(std::make_shared<PoissonLoss>(options.outputs));
}

OutputLoss FunctionLoss(LossFunction per_example, bool convex, std::string name) {
  if (!per_example) fail_usage("FunctionLoss: the function is empty");
  return OutputLoss(std::make_shared<FunctionOutputLoss>(std::move(per_example), convex, std::move(name)));
}

}  // namespace osculant
