#include "osculant/objective/layer_rows.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/objective/differentiate.h"

namespace osculant {
namespace {

bool is_matrix(const LayerUse& use) {
  return use.tap.kind == LayerKind::linear || use.tap.kind == LayerKind::convolution;
}
bool is_embedding(const LayerUse& use) {
  return use.tap.kind == LayerKind::embedding;
}

// Columns of M in a group, that of the bias among them.
int64_t width_of(const LayerUse& use) {
  return use.inputs + (use.has_bias() ? 1 : 0);
}

// The sum over t of d_it a_it', where M lies: [C, N, groups, outputs / groups, columns].
Tensor matrices(const LayerUse& use, const Tensor& a, const Tensor& d) {
  int64_t C = d.size(0), N = d.size(1), T = d.size(2), G = use.groups;
  if (is_matrix(use)) {
    Tensor D = d.unflatten(3, {G, -1}).permute({1, 3, 0, 4, 2}).reshape({N * G, -1, T});
    Tensor A = a.unflatten(2, {G, -1}).transpose(1, 2).reshape({N * G, T, -1});
    return D.bmm(A).view({N, G, C, use.outputs / G, -1}).permute({2, 0, 1, 3, 4});
  }
  if (is_embedding(use)) {
    Tensor rows = at::zeros({C, N * use.inputs, use.outputs}, d.options());
    Tensor place = (a + at::arange(N, a.options()).unsqueeze(1) * use.inputs).flatten();
    rows.index_add_(1, place, d.flatten(1, 2));
    return rows.view({C, N, 1, use.inputs, use.outputs}).transpose(3, 4);
  }
  std::vector<Tensor> columns{use.tap.kind == LayerKind::bias ? d.sum(2) : (d * a).sum(2)};
  if (use.has_bias()) columns.push_back(d.sum(2));
  return at::stack(columns, 3).unsqueeze(2);
}

// a_it . a_js within a group, rows (i, t) and columns (j, s).
Tensor input_gram(const LayerUse& use, const Tensor& a, const Tensor& b, int64_t group) {
  if (is_embedding(use)) return a.flatten().unsqueeze(1).eq(b.flatten());
  int64_t width = width_of(use);
  Tensor A = a.flatten(0, 1).narrow(1, group * width, width),
         B = b.flatten(0, 1).narrow(1, group * width, width);
  return A.mm(B.t());
}

Tensor of_group(const LayerUse& use, const Tensor& d, int64_t group) {
  int64_t rows = use.outputs / use.groups;
  return d.narrow(3, group * rows, rows);
}

// result [C, N, C', N'] += sum over t, s of (a_it . a_js)(d_it . e_js)
void add_paired(const LayerUse& use, const Tensor& a, const Tensor& d, const Tensor& b, const Tensor& e,
                Tensor result) {
  int64_t C = d.size(0), N = d.size(1), T = d.size(2), K = e.size(0), M = e.size(1), S = e.size(2);
  for (int64_t g = 0; g < use.groups; ++g) {
    Tensor inputs = input_gram(use, a, b, g).view({1, N, T, 1, M, S});
    Tensor outputs = of_group(use, d, g).flatten(0, 2).mm(of_group(use, e, g).flatten(0, 2).t());
    outputs = outputs.view({C, N, T, K, M, S}) * inputs;
    result.add_(T == 1 && S == 1 ? outputs.view({C, N, K, M}) : outputs.sum({2, 5}));
  }
}

// [C, N], the same with an example's own.
Tensor paired_norms(const LayerUse& use, const Tensor& a, const Tensor& d) {
  int64_t N = d.size(1), T = d.size(2), G = use.groups;
  Tensor D = d.unflatten(3, {G, -1}).transpose(2, 3);  // [C, N, G, T, o]
  Tensor inputs;
  if (is_embedding(use)) {
    inputs = a.unsqueeze(2).eq(a.unsqueeze(1)).view({N, 1, T, T});
  } else {
    Tensor A = a.unflatten(2, {G, -1}).transpose(1, 2);  // [N, G, T, i]
    inputs = A.matmul(A.transpose(2, 3));
  }
  return (D.matmul(D.transpose(3, 4)) * inputs).sum({2, 3, 4});
}

std::vector<ParameterPart> parts_of(const LayerUse& use) {
  std::vector<ParameterPart> parts{use.tap.part};
  if (use.has_bias()) parts.push_back(*use.tap.bias);
  return parts;
}

bool overlap(const LayerUse& u, const LayerUse& v) {
  for (const auto& p : parts_of(u))
    for (const auto& q : parts_of(v))
      if (p.overlaps(q)) return true;
  return false;
}

}  // namespace

struct LayerRows::Share {
  std::vector<std::pair<LayerUse, size_t>> uses;  // and their places among the factors'
  int64_t begin, end;                             // of the stretch of theta

  bool single() const { return uses.size() == 1; }
  void join(const Share& other) {
    uses.insert(uses.end(), other.uses.begin(), other.uses.end());
    begin = std::min(begin, other.begin);
    end = std::max(end, other.end);
  }
};

LayerRows::LayerRows(const LayerFactors& factors, const LayerFactors::Cotangents& cotangents, int64_t budget)
    : factors_(&factors),
      columns_(cotangents.at(0).size(0)),
      budget_(budget),
      d_(factors.derivatives(cotangents)),
      rest_(rest_of_theta(cotangents)) {}

// A pass of autograd for each row, by the untapped parameters that it reaches.
Tensor LayerRows::rest_of_theta(const LayerFactors::Cotangents& cotangents) {
  const auto& layout = factors_->objective().layout();
  const auto& z = factors_->outputs();
  auto column = [&](int64_t c) {
    std::vector<Tensor> of_column;
    for (const Tensor& family : cotangents) of_column.push_back(family[c]);
    return of_column;
  };
  std::vector<Tensor> all, leaves;
  for (const auto& parameter : factors_->untapped()) all.push_back(layout.leaves()[parameter.index]);
  auto reached = all.empty() ? all : grad_of(z, all, column(0));
  for (size_t i = 0; i < all.size(); ++i) {
    if (!reached[i].defined()) continue;
    const Parameter& p = layout.parameters()[factors_->untapped()[i].index];
    rest_parts_.push_back({.name = p.name, .offset = p.offset, .shape = p.shape});
    leaves.push_back(all[i]);
  }
  if (leaves.empty()) return {};
  std::vector<Tensor> rows;
  for (int64_t c = 0; c < columns_; ++c)
    for (int64_t i = 0; i < examples(); ++i) {
      auto of_example = column(c);
      for (Tensor& w : of_example) {
        Tensor masked = at::zeros_like(w);
        masked[i].copy_(w[i]);
        w = masked;
      }
      auto gradient = grad_of(z, leaves, of_example);
      for (size_t l = 0; l < leaves.size(); ++l)
        gradient[l] = gradient[l].defined() ? gradient[l].flatten() : at::zeros_like(leaves[l]).flatten();
      rows.push_back(at::cat(gradient).detach());
    }
  factors_->objective().charge(Price::jacobian_transpose_product, static_cast<double>(examples()),
                               static_cast<double>(examples() * columns_));
  return at::stack(rows).view({columns_, examples(), -1});
}

// Examples at a time, so that a temporary keeps to the budget where it can.
int64_t LayerRows::chunk(int64_t bytes_per_example) const {
  return std::clamp<int64_t>(budget_ / std::max<int64_t>(bytes_per_example, 1), 1, examples());
}

// Uses that overlap no other are shares of their own; of those that do biases go apart from weights.
std::vector<LayerRows::Share> LayerRows::shares() const {
  const auto& uses = factors_->uses();
  std::vector<Share> shares;
  auto add = [&](LayerUse use, size_t place) {
    Share share{{{use, place}}, use.tap.part.offset, use.tap.part.offset + use.tap.part.size()};
    auto touches = [&](const Share& other) {
      return std::any_of(other.uses.begin(), other.uses.end(),
                         [&](const auto& one) { return overlap(one.first, use); });
    };
    for (size_t s = shares.size(); s-- > 0;)
      if (touches(shares[s])) {
        share.join(shares[s]);
        shares.erase(shares.begin() + static_cast<std::ptrdiff_t>(s));
      }
    shares.push_back(std::move(share));
  };
  for (size_t u = 0; u < uses.size(); ++u) {
    bool shared = false;
    for (size_t v = 0; v < uses.size(); ++v) shared = shared || (u != v && overlap(uses[u], uses[v]));
    LayerUse use = uses[u];
    if (shared && use.has_bias()) {
      LayerUse bias = use;
      bias.tap = bias_alone(use.tap);
      bias.groups = 1;
      add(bias, u);
      use.tap.bias.reset();
    }
    add(use, u);
  }
  return shares;
}

// [C, count, entries]: the rows of some examples, of a share alone.
Tensor LayerRows::rows_of(const Share& share, int64_t first, int64_t count) const {
  auto a_of = [&](const LayerUse& use) { return inputs_of(use).narrow(0, first, count); };
  auto d_of = [&](size_t u) { return d_[u].narrow(1, first, count); };
  if (share.single()) {
    const auto& [use, u] = share.uses[0];
    return matrices(use, a_of(use), d_of(u)).flatten(2);
  }
  int64_t width = share.end - share.begin, element = static_cast<int64_t>(d_[0].element_size());
  if (columns_ * count * width * element > budget_)
    fail(ErrorKind::memory,
         fmt::format("gradients of {} examples by the weight {}, used {} times: {} would be held, the memory "
                     "budget is {}; take smaller batches",
                     count, share.uses[0].first.tap.parameter, share.uses.size(),
                     format_bytes(columns_ * count * width * element), format_bytes(budget_)));
  Tensor rows = at::zeros({columns_, count, width}, d_[0].options());
  for (auto [use, u] : share.uses) {
    Tensor M = matrices(use, a_of(use), d_of(u));
    use.tap.part.offset -= share.begin;
    add_matrix(use, M, rows);
  }
  return rows;
}

Tensor LayerRows::dense() const {
  const auto& layout = factors_->objective().layout();
  int64_t bytes = columns_ * examples() * layout.size() * static_cast<int64_t>(layout.theta().element_size());
  if (bytes > budget_)
    fail(ErrorKind::memory,
         fmt::format("derivatives of {} examples, {} each, by {} parameters: would take {}, "
                     "the memory budget is {}; take smaller batches",
                     examples(), columns_, layout.size(), format_bytes(bytes), format_bytes(budget_)));
  Tensor rows = at::zeros({columns_, examples(), layout.size()}, layout.options());
  for (size_t u = 0; u < d_.size(); ++u) {
    const LayerUse& use = factors_->uses()[u];
    add_matrix(use, matrices(use, inputs_of(use), d_[u]), rows);
  }
  int64_t begin = 0;
  for (const auto& part : rest_parts_) {
    rows.narrow(2, part.offset, part.size()).copy_(rest_.narrow(2, begin, part.size()));
    begin += part.size();
  }
  return rows;
}

Tensor LayerRows::products_with(const Tensor& v) const {
  const auto& layout = factors_->objective().layout();
  Tensor result = at::zeros({columns_, examples()}, layout.options());
  for (size_t u = 0; u < d_.size(); ++u) {
    const LayerUse& use = factors_->uses()[u];
    Tensor M = matrix_of(use, v), a = inputs_of(use), Ma;  // [N, T, outputs]
    if (is_embedding(use)) {
      Ma = M[0].t().index_select(0, a.flatten()).view({a.size(0), a.size(1), -1});
    } else if (is_matrix(use)) {
      Ma = at::einsum("ntgi,goi->ntgo", {a.unflatten(2, {use.groups, -1}), M}).flatten(2);
    } else {
      Ma = a * M[0].select(1, 0);
      if (use.has_bias()) Ma = Ma + M[0].select(1, 1);
    }
    result += (d_[u] * Ma).sum({2, 3});
  }
  int64_t begin = 0;
  for (const auto& part : rest_parts_) {
    result += rest_.narrow(2, begin, part.size()).matmul(v.narrow(0, part.offset, part.size()));
    begin += part.size();
  }
  return result;
}

Tensor LayerRows::squared_norms() const {
  const auto& options = factors_->objective().layout().options();
  Tensor result = at::zeros({columns_, examples()}, options);
  int64_t element = static_cast<int64_t>(factors_->objective().layout().theta().element_size());
  for (const Share& share : shares()) {
    const auto& [use, u] = share.uses[0];
    int64_t T = use.positions, G = use.groups, rows = use.outputs / G;
    bool paired = share.single() && (is_embedding(use) ||
                                     (is_matrix(use) && T * (width_of(use) + rows) <= width_of(use) * rows));
    int64_t entries = paired           ? 3 * G * T * T
                      : share.single() ? G * rows * width_of(use)
                                       : share.end - share.begin;
    int64_t step = chunk(columns_ * entries * element);
    for (int64_t first = 0; first < examples(); first += step) {
      int64_t count = std::min(step, examples() - first);
      result.narrow(1, first, count)
          .add_(paired
                    ? paired_norms(use, inputs_of(use).narrow(0, first, count), d_[u].narrow(1, first, count))
                    : rows_of(share, first, count).square().sum(2));
    }
  }
  return rest_.defined() ? result + rest_.square().sum(2) : result;
}

Tensor LayerRows::products_with(const LayerRows& other) const {
  if (other.factors_->uses().size() != factors_->uses().size() ||
      other.factors_->objective().layout_ptr() != factors_->objective().layout_ptr())
    fail_usage("layer rows: products are between batches of one objective");
  const auto& layout = factors_->objective().layout();
  int64_t N = examples(), M = other.examples(), C = columns_, K = other.columns_;
  int64_t element = static_cast<int64_t>(layout.theta().element_size());
  Tensor result = at::zeros({C, N, K, M}, layout.options());
  auto mine = shares(), others = other.shares();
  for (size_t s = 0; s < mine.size(); ++s) {
    const auto& [use, u] = mine[s].uses[0];
    const auto& [with, v] = others[s].uses[0];
    int64_t T = use.positions, S = with.positions, G = use.groups, rows = use.outputs / G,
            width = width_of(use);
    bool paired = mine[s].single() &&
                  (is_embedding(use) ||
                   (is_matrix(use) && G * T * S * (width + C * K * rows) <= C * K * G * rows * width));
    int64_t entries = mine[s].single() ? G * rows * width : mine[s].end - mine[s].begin;
    int64_t step = chunk((paired ? 3 * C * T * K * M * S : C * entries) * element / (paired ? 1 : 2));
    Tensor a = paired ? inputs_of(use) : Tensor(), b = paired ? inputs_of(with) : Tensor();
    int64_t other_step =
        std::min(M, std::max<int64_t>(1, budget_ / 2 / std::max<int64_t>(1, K * entries * element)));
    for (int64_t first = 0; first < N; first += step) {
      int64_t count = std::min(step, N - first);
      Tensor block = result.narrow(1, first, count);
      if (paired) {
        add_paired(use, a.narrow(0, first, count), d_[u].narrow(1, first, count), b, other.d_[v], block);
        continue;
      }
      Tensor R = rows_of(mine[s], first, count).flatten(0, 1);
      for (int64_t at = 0; at < M; at += other_step) {
        int64_t some = std::min(other_step, M - at);
        Tensor Q = other.rows_of(others[s], at, some).flatten(0, 1);
        block.narrow(3, at, some).add_(R.mm(Q.t()).view({C, count, K, some}));
      }
    }
  }
  if (rest_.defined()) result += rest_.flatten(0, 1).mm(other.rest_.flatten(0, 1).t()).view({C, N, K, M});
  return result;
}

}  // namespace osculant
