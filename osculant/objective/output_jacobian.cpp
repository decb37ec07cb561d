#include "osculant/objective/output_jacobian.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/generated/Functions.h>

#include <unordered_map>
#include <unordered_set>

namespace osculant {
namespace {

using torch::autograd::AccumulateGrad;
using torch::autograd::Edge;
using torch::autograd::Node;
using torch::autograd::generated::AddBackward0;
using torch::autograd::generated::AddmmBackward0;
using torch::autograd::generated::MmBackward0;
using torch::autograd::generated::TBackward0;

// One place where a parameter enters: out = scale * a W (or its transpose), or out = ... + scale * b.
struct Use {
  size_t parameter;
  size_t node;      // whose output is `out`, in Uses::nodes
  Tensor a;         // [rows, in]; undefined for a bias
  bool transposed;  // the parameter is W' [out, in], as torch::nn::Linear keeps it
  double scale;
};

struct Uses {
  std::vector<Edge> nodes;
  std::vector<Use> uses;
};

// The leaf behind an edge, through transposes.
struct Leaf {
  const AccumulateGrad* node = nullptr;
  bool transposed = false;
};
Leaf leaf_behind(const Edge& edge) {
  Leaf leaf;
  const Node* node = edge.function.get();
  while (dynamic_cast<const TBackward0*>(node) != nullptr) {
    leaf.transposed = !leaf.transposed;
    node = node->next_edge(0).function.get();
  }
  leaf.node = dynamic_cast<const AccumulateGrad*>(node);
  return leaf;
}

// Walks the graph below z and writes down every use of a parameter; gives up at one it does not know.
class Walk {
 public:
  explicit Walk(const ParameterLayout& layout) {
    for (size_t p = 0; p < layout.leaves().size(); ++p)
      parameters_[layout.leaves()[p].unsafeGetTensorImpl()] = p;
  }

  std::optional<Uses> from(const Tensor& z) {
    std::vector<Node*> open{z.grad_fn().get()};
    while (!open.empty()) {
      Node* node = open.back();
      open.pop_back();
      if (node == nullptr || !seen_.insert(node).second) continue;
      if (dynamic_cast<TBackward0*>(node) != nullptr && leaf_behind(node->next_edge(0)).node != nullptr)
        continue;
      for (size_t i = 0; i < node->num_outputs(); ++i) {
        const Edge& edge = node->next_edge(i);
        if (!edge.is_valid()) continue;
        Leaf leaf = leaf_behind(edge);
        if (leaf.node == nullptr)
          open.push_back(edge.function.get());
        else if (auto found = parameters_.find(leaf.node->variable.unsafeGetTensorImpl());
                 found != parameters_.end() && !enter(*node, i, leaf, found->second))
          return std::nullopt;
      }
    }
    return std::move(found_);
  }

 private:
  bool enter(Node& node, size_t edge, const Leaf& leaf, size_t parameter) {
    const Tensor& value = leaf.node->variable;
    if (auto* add = dynamic_cast<AddmmBackward0*>(&node)) {
      if (edge == 2) return matrix(node, add->mat1_.unpack(), leaf, parameter, add->alpha.toDouble());
      return edge == 0 && bias(node, value, leaf, parameter, add->beta.toDouble());
    }
    if (auto* product = dynamic_cast<MmBackward0*>(&node))
      return edge == 1 && matrix(node, product->self_.unpack(), leaf, parameter, 1);
    if (auto* add = dynamic_cast<AddBackward0*>(&node))
      return bias(node, value, leaf, parameter, edge == 0 ? 1 : add->alpha.toDouble());
    return false;
  }

  bool matrix(Node& node, const Tensor& a, const Leaf& leaf, size_t parameter, double scale) {
    found_.uses.push_back({parameter, index_of(node), a.detach(), leaf.transposed, scale});
    return true;
  }

  bool bias(Node& node, const Tensor& value, const Leaf& leaf, size_t parameter, double scale) {
    auto shape = node.input_metadata(0).shape_as_dim_vector();
    bool row =
        !leaf.transposed && shape.size() == 2 && value.numel() == shape[1] && value.size(-1) == shape[1];
    if (row) found_.uses.push_back({parameter, index_of(node), {}, false, scale});
    return row;
  }

  size_t index_of(Node& node) {
    auto [at, added] = indices_.try_emplace(&node, found_.nodes.size());
    if (added) found_.nodes.emplace_back(node.getptr(), 0);
    return at->second;
  }

  std::unordered_map<const at::TensorImpl*, size_t> parameters_;
  std::unordered_map<const Node*, size_t> indices_;
  std::unordered_set<const Node*> seen_;
  Uses found_;
};

// block += scale * sum over positions of d a', [N, out, in], or of a d', or of d, [N, out].
void add_rows(Tensor block, const Tensor& d, const Use& use, bool first) {
  int64_t N = block.size(0), T = d.size(0) / N;
  if (!use.a.defined()) {
    Tensor sum = T == 1 ? d : d.view({N, T, -1}).sum(1);
    first ? block.copy_(use.scale == 1 ? sum : sum * use.scale) : block.add_(sum, use.scale);
    return;
  }
  const Tensor &left = use.transposed ? d : use.a, &right = use.transposed ? use.a : d;
  if (T > 1) {
    block.baddbmm_(left.reshape({N, T, -1}).transpose(1, 2), right.reshape({N, T, -1}), first ? 0 : 1,
                   use.scale);
  } else if (first) {
    at::mul_out(block, left.unsqueeze(2), (use.scale == 1 ? right : right * use.scale).unsqueeze(1));
  } else {
    block.addcmul_(left.unsqueeze(2), right.unsqueeze(1), use.scale);
  }
}

Tensor seed(const Tensor& z, const Tensor& seeds, int64_t c) {
  return seeds.select(2, c).reshape(z.sizes());
}

}  // namespace

std::optional<Tensor> layerwise_jacobian(const Tensor& z, const Tensor& seeds,
                                         const ParameterLayout& layout) {
  auto found = Walk(layout).from(z);
  if (!found) return std::nullopt;
  int64_t N = z.size(0), C = seeds.size(2);
  for (const auto& use : found->uses) {
    auto rows = found->nodes[use.node].function->input_metadata(0).shape_as_dim_vector()[0];
    if (rows < N || rows % N != 0) return std::nullopt;
  }
  Tensor J = at::empty({N, C, layout.size()}, z.options().requires_grad(false));
  for (int64_t c = 0; c < C; ++c) {
    auto d = torch::autograd::Engine::get_default_engine().execute(
        {torch::autograd::impl::gradient_edge(z)}, {seed(z, seeds, c)}, true, false, false, found->nodes);
    std::vector<bool> written(layout.leaves().size(), false);
    Tensor row = J.select(1, c);
    auto block_of = [&](size_t p) {
      return row.narrow(1, layout.parameters()[p].offset, layout.parameters()[p].size);
    };
    for (const auto& use : found->uses) {
      if (!d[use.node].defined()) continue;
      Tensor block = block_of(use.parameter);
      if (use.a.defined())
        block = block.unflatten(1, at::IntArrayRef(layout.parameters()[use.parameter].shape));
      add_rows(block, d[use.node], use, !written[use.parameter]);
      written[use.parameter] = true;
    }
    for (size_t p = 0; p < written.size(); ++p)
      if (!written[p]) block_of(p).zero_();
  }
  return J;
}

Tensor rowwise_jacobian(const Tensor& z, const Tensor& seeds, const ParameterLayout& layout) {
  int64_t N = z.size(0), C = seeds.size(2);
  Tensor J = at::zeros({N, C, layout.size()}, z.options().requires_grad(false));
  if (!z.requires_grad()) return J;
  for (int64_t i = 0; i < N; ++i) {
    for (int64_t c = 0; c < C; ++c) {
      Tensor w = at::zeros_like(z, z.options().requires_grad(false));
      w[i].copy_(seeds.select(0, i).select(1, c).view(z.sizes().slice(1)));
      auto gradient = torch::autograd::grad({z}, layout.leaves(), {w}, true, false, true);
      Tensor row = J.select(0, i).select(0, c);
      layout.accumulate(row, gradient);
    }
  }
  return J;
}

}  // namespace osculant
