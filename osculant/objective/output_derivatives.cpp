#include "osculant/objective/output_derivatives.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "osculant/linop/vector_space.h"

namespace osculant {

std::vector<Tensor> output_gradients(const OutputLoss::Implementation& loss,
                                     const std::vector<Tensor>& outputs, const Batch& batch) {
  at::AutoGradMode mode(true);
  std::vector<Tensor> at_z;
  for (const auto& z : outputs) at_z.push_back(z.detach().requires_grad_(z.is_floating_point()));
  Tensor sum = loss.sum(at_z, batch);
  std::vector<Tensor> w(at_z.size());
  if (sum.requires_grad()) w = torch::autograd::grad({sum}, at_z, {}, false, false, /*allow_unused=*/true);
  for (size_t i = 0; i < w.size(); ++i)
    if (!w[i].defined()) w[i] = at::zeros_like(outputs[i]);
  return w;
}

namespace {

// d2l/dz2 [N, D, D], a product with each of the D unit vectors.
Tensor output_hessian(const OutputLoss::Implementation& loss, const Tensor& z, const Batch& batch) {
  int64_t N = z.size(0), D = z.numel() / N;
  Tensor H = at::empty({N, D, D}, z.options());
  for (int64_t d = 0; d < D; ++d) {
    Tensor e = at::zeros({N, D}, z.options());
    e.select(1, d).fill_(1);
    H.select(2, d).copy_(loss.hessian_product({z}, batch, {e.view(z.sizes())})[0].reshape({N, D}));
  }
  return H;
}

// S S' = H, and r = S^+ w, with the diagonal's roots where H is diagonal and H's eigenvectors elsewhere.
OutputRoot root_of(const Tensor& H, const Tensor& w) {
  Tensor diagonal = H.diagonal(0, 1, 2);
  Tensor values, vectors;
  bool is_diagonal = H.size(1) == 1 || at::count_nonzero(H).equal(at::count_nonzero(diagonal));
  if (is_diagonal)
    values = diagonal;
  else
    std::tie(values, vectors) = at::linalg_eigh(H);
  // What is no more than rounding beside the largest has no direction to speak of.
  double u = VectorSpace(1, H.options()).epsilon();
  Tensor kept = values > static_cast<double>(H.size(1)) * u * values.amax(1, true);
  Tensor root = at::where(kept, values, 0).sqrt(), inverse = at::where(kept, root.reciprocal(), 0);
  if (is_diagonal) return {at::diag_embed(root), inverse * w};
  Tensor S = vectors * root.unsqueeze(1);
  return {S, inverse * w.unsqueeze(1).bmm(vectors).squeeze(1)};
}

}  // namespace

Batch unweighted(Batch batch) {
  batch.weights = Tensor();
  return batch;
}

OutputRoot output_root(const OutputLoss::Implementation& loss, const Tensor& z, const Tensor& w,
                       const Batch& batch) {
  at::AutoGradMode mode(true);
  Tensor values = z.detach(), gradient = w.reshape({z.size(0), -1});
  if (auto root = loss.hessian_root(values, batch, gradient)) return *root;
  return root_of(output_hessian(loss, values, batch), gradient);
}

}  // namespace osculant
