#include "osculant/optim/directions/quasi_newton.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/io/archive.h"

namespace osculant {

void QuasiNewtonOptions::check() const {
  require_non_negative("initial_scale", initial_scale);
  line_search.check();
}

void BroydenOptions::check() const {
  require_between("phi", phi, 0, 1);
  common.check();
}

void Sr1Options::check() const {
  require_between("skip", skip, 0, 1);
  common.check();
}

void visit(OptionVisitor& v, QuasiNewtonOptions& o) {
  v.number("initial_scale", o.initial_scale, ">= 0", "H_0 = this times I; 0: from the first pair");
  visit(v, o.line_search);
}

void visit(OptionVisitor& v, DfpOptions& o) {
  visit(v, o.common);
}

void visit(OptionVisitor& v, BroydenOptions& o) {
  v.number("phi", o.phi, "in [0, 1]", "share of DFP in the update; the rest is BFGS");
  visit(v, o.common);
}

void visit(OptionVisitor& v, Sr1Options& o) {
  v.number("skip", o.skip, "in [0, 1]",
           "pairs with abs((s - Hy)'y) below this share of the norms are left out");
  visit(v, o.common);
}

namespace {

constexpr double epsilon = std::numeric_limits<double>::epsilon();

// The inner products of a pair, with u = Hy and B = H^-1.
struct Products {
  double ss, sy, yy, yu, uu, su, sBs;
  double n;
};

// H+ = scale H + [s u] [ss su; su uu] [s u]'
struct Update {
  double scale, ss, su, uu;
};
using Formula = std::function<std::optional<Update>(const Products&)>;

Update broyden_class(const Products& k, double phi, double tau) {
  double a = phi == 0 ? 0 : k.sBs * k.yu / (k.sy * k.sy) - 1;
  double inverse_phi = (1 - phi) / (1 + a * phi);
  return {.scale = 1 / tau,
          .ss = inverse_phi * k.yu / (tau * k.sy * k.sy) + 1 / k.sy,
          .su = -inverse_phi / (tau * k.sy),
          .uu = (inverse_phi - 1) / (tau * k.yu)};
}

// Al-Baali (1998), in the form of Urban, Stefanou & Pons (2025): with c = sqrt(a / (1 + a)),
//   rho- = min(1, h (1 - c)),  theta- = (rho- - 1) / a,  theta+ = 1 / rho-,
//   theta = max(theta-, min(theta+, (1 - b) / b)),  sigma = 1 + a theta,  rho+ = min(1, 1 / b),
//   tau = rho+ min(sigma^(-1/(n-1)), 1/theta) for theta > 0, min(rho+ sigma^(-1/(n-1)), sigma) otherwise.
Update self_scaled(const Products& k) {
  double b = k.sBs / k.sy, h = k.yu / k.sy, a = b * h - 1;
  if (!(a > epsilon * b * h))
    return broyden_class(k, 0, std::min(1.0, 1 / b));  // u is along s: phi has no effect
  double low = std::min(1.0, h * (1 - std::sqrt(a / (1 + a))));
  double theta = std::max((low - 1) / a, std::min(1 / low, (1 - b) / b));
  double sigma = 1 + a * theta, high = std::min(1.0, 1 / b);
  double root = k.n > 1 ? std::pow(sigma, -1 / (k.n - 1)) : 1;
  double tau = theta > 0 ? high * std::min(root, 1 / theta) : std::min(high * root, sigma);
  return broyden_class(k, theta, tau);
}

// d = s - u: d'y = s'y - y'u.
std::optional<Update> rank_one(const Products& k, double skip) {
  double dy = k.sy - k.yu, dd = k.ss - 2 * k.su + k.uu;
  if (!(std::abs(dy) >= skip * std::sqrt(dd * k.yy)) || dd == 0) return std::nullopt;
  return Update{1, 1 / dy, -1 / dy, 1 / dy};
}

struct Rule {
  const char* name;
  Formula update;
  bool definite;       // keeps H positive definite, and takes only pairs that allow it
  double first_share;  // of s'y / y'y for H_0
};

class QuasiNewton : public Direction {
 public:
  QuasiNewton(Rule rule, const QuasiNewtonOptions& options, int64_t n)
      : rule_(std::move(rule)), initial_scale_(options.initial_scale) {
    auto matrix = [](int64_t size) {
      return fmt::format("{} x {} matrix of {}", size, size, format_bytes(8 * size * size));
    };
    if (n > largest_dense_inverse)
      fail(ErrorKind::memory,
           fmt::format("{}: the inverse Hessian of {} parameters would be a dense {}, the most "
                       "is a {}; lbfgs keeps a few vectors in its place",
                       rule_.name, n, matrix(n), matrix(largest_dense_inverse)));
  }

  Needs needs() const override { return {.gradient = true}; }

  void prepare(const StepContext& context) override {
    gradient_ = context.linearization.gradient();
    followed_ = context.gradient.to(at::kDouble);
  }

  Step propose(const StepContext&, const Damping&) override {
    Step step;
    step.note = std::exchange(note_, "");
    Tensor p = inverse_.defined() ? newton_step(step.note) : Tensor();
    if (!p.defined()) p = gradient_step();
    step.slope = slope_;
    step.displacement = p.to(gradient_.scalar_type());
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (!outcome.new_gradient.defined()) return;
    Tensor s = outcome.displacement.to(at::kDouble), y = (outcome.new_gradient - gradient_).to(at::kDouble);
    bool first = !inverse_.defined();
    if (first) inverse_ = at::eye(s.numel(), s.options()).mul_(first_scale(s, y));
    Tensor u = inverse_.mv(y);
    Tensor vectors = at::stack({s, u, y, followed_});
    Tensor gram = vectors.mm(vectors.t()).cpu();
    auto k = products(gram.const_data_ptr<double>(), first);
    bool usable = !rule_.definite || k.sy > epsilon * std::sqrt(k.ss * k.yy);
    auto update = usable ? rule_.update(k) : std::nullopt;
    if (update) {
      apply(*update, vectors.narrow(0, 0, 2));
    } else {
      note_ = rule_.definite ? fmt::format("pair left out: s'y = {:.3g} shows no curvature", k.sy)
                             : fmt::format("pair left out: (s - Hy)'y = {:.3g} is too small", k.sy - k.yu);
      if (first) inverse_.reset();
    }
  }

  void rejected(const StepOutcome&) override {
    if (!inverse_.defined()) return;
    note_ = "H dropped after a failed line search";
    inverse_.reset();
  }

  void save(Archive& archive) const override {
    archive.put("note", note_);
    archive.put("pair_scale", pair_scale_);
    if (inverse_.defined()) archive.put("inverse", inverse_.clone());
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    note_ = archive.text("note");
    pair_scale_ = archive.number("pair_scale");
    auto like = at::empty({layout.size(), layout.size()}, layout.options().dtype(at::kDouble));
    inverse_ = archive.contains("inverse") ? archive.tensor("inverse", like) : Tensor();
  }

 private:
  // -H g, or nothing where it does not descend.
  Tensor newton_step(std::string& note) {
    Tensor p = inverse_.mv(followed_).neg_();
    slope_ = followed_.dot(p).item<double>();
    if (slope_ < -epsilon * (followed_.norm() * p.norm()).item<double>()) return p;
    note += note.empty() ? "" : "; ";
    if (rule_.definite) {
      note += fmt::format("H dropped: g'p = {:.3g} is no descent", slope_);
      inverse_.reset();
    } else {
      note += fmt::format("along the gradient: -H g does not descend, g'p = {:.3g}", slope_);
    }
    return {};
  }

  Tensor gradient_step() {
    double norm = followed_.norm().item<double>();
    double scale = inverse_.defined()   ? pair_scale_
                   : initial_scale_ > 0 ? initial_scale_
                                        : std::min(1.0, 1 / norm);
    slope_ = -scale * norm * norm;
    return followed_ * -scale;
  }

  double first_scale(const Tensor& s, const Tensor& y) const {
    if (initial_scale_ > 0) return initial_scale_;
    double scale = rule_.first_share * std::abs((s.dot(y) / y.dot(y)).item<double>());
    return scale > 0 && std::isfinite(scale) ? scale : 1;
  }

  // From the Gram matrix of s, u, y and the g followed. With s = alpha p and p = -H g: s'Bs = -(g's)^2 / g'p.
  Products products(const double* gram, bool first) {
    auto at = [&](int64_t i, int64_t j) { return gram[4 * i + j]; };
    Products k{.ss = at(0, 0),
               .sy = at(0, 2),
               .yy = at(2, 2),
               .yu = at(2, 1),
               .uu = at(1, 1),
               .su = at(0, 1),
               .sBs = first ? at(0, 0) * at(2, 2) / at(2, 1) : -at(0, 3) * at(0, 3) / slope_,
               .n = static_cast<double>(followed_.numel())};
    pair_scale_ = k.yy > 0 ? std::abs(k.sy) / k.yy : 1;
    return k;
  }

  // `vectors`: s and u, [2, n].
  void apply(const Update& update, const Tensor& vectors) {
    Tensor weights = at::empty({2, 2}, at::kDouble);
    auto* w = weights.mutable_data_ptr<double>();
    w[0] = update.ss, w[1] = w[2] = update.su, w[3] = update.uu;
    inverse_.addmm_(vectors.t(), weights.to(vectors.device()).mm(vectors), update.scale);
  }

  Rule rule_;
  double initial_scale_;
  Tensor inverse_;         // H, float64 [n, n]; undefined before the first pair
  Tensor gradient_;        // of the batch: what pairs are made of
  Tensor followed_;        // the same, or clipped; float64
  double slope_ = 0;       // g'p of the step proposed, g the one followed
  double pair_scale_ = 1;  // s'y / y'y of the last pair: the scale of H along the gradient
  std::string note_;
};

std::unique_ptr<Direction> make(Rule rule, const QuasiNewtonOptions& options, int64_t n) {
  return std::make_unique<QuasiNewton>(std::move(rule), options, n);
}

Rule definite(const char* name, Formula update) {
  return {name, std::move(update), true, 1};
}

}  // namespace

std::unique_ptr<Direction> bfgs_direction(const QuasiNewtonOptions& options, int64_t n) {
  options.check();
  return make(definite("bfgs", [](const Products& k) { return broyden_class(k, 0, 1); }), options, n);
}

std::unique_ptr<Direction> dfp_direction(const DfpOptions& options, int64_t n) {
  options.check();
  return make(definite("dfp", [](const Products& k) { return broyden_class(k, 1, 1); }), options.common, n);
}

std::unique_ptr<Direction> broyden_direction(const BroydenOptions& options, int64_t n) {
  options.check();
  auto update = [phi = options.phi](const Products& k) { return broyden_class(k, phi, 1); };
  return make(definite("broyden", update), options.common, n);
}

std::unique_ptr<Direction> ssbroyden_direction(const QuasiNewtonOptions& options, int64_t n) {
  options.check();
  return make(definite("ssbroyden", self_scaled), options, n);
}

std::unique_ptr<Direction> sr1_direction(const Sr1Options& options, int64_t n) {
  options.check();
  auto update = [skip = options.skip](const Products& k) { return rank_one(k, skip); };
  return make({"sr1", update, false, 0.5}, options.common, n);
}

}  // namespace osculant
