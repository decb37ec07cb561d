#include "osculant/optim/directions/lsr1.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/linop/vector_space.h"
#include "osculant/optim/directions/limited_memory.h"

namespace osculant {

void Lsr1Options::check() const {
  require_at_least("memory", static_cast<double>(memory), 1);
  require_between("skip", skip, 0, 1);
  line_search.check();
}

void visit(OptionVisitor& v, Lsr1Options& o) {
  v.integer("memory", o.memory, ">= 1", "pairs of steps and gradient changes kept");
  v.number("skip", o.skip, "in [0, 1]",
           "pairs with abs((s - Hy)'y) below this share of the norms correct nothing");
  visit(v, o.line_search);
}

namespace {

// H = gamma I + Psi M Psi', in inner products: PP = Psi'Psi, PY = Psi'Y. float64 [k, k], on the CPU.
struct CompactForm {
  double gamma;
  Tensor PP, PY, M;
};

// The corrections one after the other, d_j = Psi c_j: H_j = H_{j-1} + d_j d_j' / (d_j'y_j),
//   d_j = s_j - H_{j-1} y_j = psi_j - sum over i < j of d_i (d_i'y_j) / (d_i'y_i).
Tensor corrections(const Tensor& PP, const Tensor& PY, const Tensor& yy, double skip) {
  int64_t k = PP.size(0);
  Tensor M = at::zeros({k, k}, at::kDouble);
  for (int64_t j = 0; j < k; ++j) {
    Tensor c = M.mv(PY.select(1, j)).neg_();
    c[j] += 1;
    double dy = c.dot(PY.select(1, j)).item<double>();
    double dd = c.dot(PP.mv(c)).item<double>();
    if (std::abs(dy) >= skip * std::sqrt(std::max(dd, 0.0) * yy[j].item<double>()) && dy != 0)
      M.addr_(c, c, 1, 1 / dy);
  }
  return M;
}

// c of abs(H) g = abs(gamma) g + Psi c, and how many eigenvalues of H are negative. With Psi'Psi = Q diag(q)
// Q' and W = Psi Q q^(-1/2), H = gamma (I - W W') + W T W' with T = gamma I + q^(1/2) Q' M Q q^(1/2).
std::pair<Tensor, int64_t> absolute(const CompactForm& H, const Tensor& Pg) {
  auto [q, Q] = at::linalg_eigh(H.PP);
  Tensor kept = at::nonzero(q > 1e-14 * q[-1]).view({-1});
  Tensor root = q.index_select(0, kept).sqrt();
  Tensor basis = Q.index_select(1, kept);  // Q
  Tensor T = root.unsqueeze(1) * basis.t().mm(H.M).mm(basis) * root;
  auto [values, vectors] = at::linalg_eigh(T);
  values = values + H.gamma;
  auto negative = (values < 0).sum().item<int64_t>();
  if (negative == 0) return {H.M.mv(Pg), 0};
  Tensor along = vectors.t().mv(basis.t().mv(Pg) / root);
  return {basis.mv(vectors.mv((values.abs() - H.gamma) * along) / root), negative};
}

class Lsr1 : public LimitedMemoryDirection {
 public:
  explicit Lsr1(const Lsr1Options& options) : LimitedMemoryDirection(options.memory), skip_(options.skip) {}

  Step propose(const StepContext&, const Damping&) override {
    VectorSpace space(gradient_.numel(), gradient_.options());
    Step step;
    step.note = std::exchange(note_, "");
    if (memory_.empty())
      step.displacement = followed_ * -first_scale(space);
    else
      step.displacement = direction(space, step.note);
    step.slope = space.dot(gradient_, step.displacement);
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (!outcome.new_gradient.defined()) return;
    auto pair = pair_of(outcome);
    if (pair.yy > 0) memory_.push(std::move(pair));
  }

 private:
  Tensor direction(const VectorSpace& space, std::string& note) const {
    std::vector<Tensor> rows;
    for (const auto& pair : memory_.pairs()) rows.push_back(pair.s);
    for (const auto& pair : memory_.pairs()) rows.push_back(pair.y);
    rows.push_back(followed_);
    Tensor all = at::stack(rows).t(), gram = space.gram(all, all);
    auto k = static_cast<int64_t>(memory_.pairs().size());
    auto block = [&](int64_t i, int64_t j) { return gram.narrow(0, i * k, k).narrow(1, j * k, k); };

    const auto& last = memory_.pairs().back();
    double gamma =
        0.5 * std::max(std::abs(last.sy), space.epsilon() * std::sqrt(last.ss * last.yy)) / last.yy;
    CompactForm H{gamma,
                  block(0, 0) - gamma * (block(0, 1) + block(1, 0)) + gamma * gamma * block(1, 1),
                  block(0, 1) - gamma * block(1, 1),
                  {}};
    H.M = corrections(H.PP, H.PY, block(1, 1).diagonal(), skip_);
    Tensor toward = gram.select(1, 2 * k);  // S'g, Y'g, g'g
    auto [c, negative] = absolute(H, toward.narrow(0, 0, k) - gamma * toward.narrow(0, k, k));
    if (negative > 0) {
      note += note.empty() ? "" : "; ";
      note += fmt::format("absolute values taken of {} negative eigenvalue{} of H", negative,
                          negative > 1 ? "s" : "");
    }
    Tensor weights = at::cat({c, c * -gamma, at::full({1}, gamma, c.options())});
    return all.mv(weights.to(all.options())).neg_();
  }

  double skip_;
};

}  // namespace

std::unique_ptr<Direction> lsr1_direction(const Lsr1Options& options) {
  options.check();
  return std::make_unique<Lsr1>(options);
}

}  // namespace osculant
