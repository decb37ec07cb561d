#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "osculant/objective/layer_rows.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// Gradients g_i of the losses f_i of single examples, as empirical_fisher.h has them: f = sum of p_i f_i over
// the data term, p_i = w_i / sum w. By layer (LayerRows), batch by batch, within the objective's memory
// budget. A walk over the data costs 5/3 ge: two forward passes, and three backward ones by the layers'
// outputs. They refuse, with Error(usage), objectives of several terms and models that couple examples.

// Visits consecutive examples with their gradients [b, n]; a batch that the budget cannot hold comes in
// pieces.
using GradientVisitor = std::function<void(int64_t first, const Tensor& G)>;
void visit_example_gradients(const Objective& objective, const GradientVisitor& visit);

Tensor squared_gradient_norms(const Objective& objective);  // g_i'g_i, [N]
// g_i'v, [N], v [n]. Costs no more than norms; `norms`, where given, becomes those.
Tensor gradient_products(const Objective& objective, const Tensor& v, Tensor* norms = nullptr);

// Visits the blocks of a symmetric matrix with rows and columns from `row` and `column` on, those on and
// below the diagonal of blocks.
using BlockVisitor = std::function<void(int64_t row, int64_t column, const Tensor& block)>;

// Inner products of the rows (i, c) of a family of columns, that many of each example, times `scale`: of an
// objective's first term, unweighted. The rows of a batch are held as long as the budget has room, and made
// again beyond it.
using RowColumns = std::function<LayerFactors::Cotangents(const LayerFactors&)>;
void visit_row_products(const Objective& objective, const RowColumns& columns, double scale,
                        const BlockVisitor& visit);

// g_i'g_j, [N, N]. The whole matrix counts against the memory budget, blocks of two batches do not.
void visit_gradient_products(const Objective& objective, const BlockVisitor& visit);
Tensor gradient_products(const Objective& objective);

// The empirical neural tangent kernel J J' (Jacot, Gabriel & Hongler 2018), [N K, N K], row i K + k for
// output k of example i, of models with one output tensor of K entries an example.
void visit_tangent_kernel(const Objective& objective, const BlockVisitor& visit);
Tensor tangent_kernel(const Objective& objective);

// E = sum of p_i g_i g_i', dense [n, n], and its eigenvalues, descending, min(n, N) of them: from E or from
// the matrix of sqrt(p_i p_j) g_i'g_j, whichever is smaller.
Tensor empirical_fisher_matrix(const Objective& objective);
Tensor empirical_fisher_eigenvalues(const Objective& objective);

// The sum of the examples' weights of a single term; N without weights.
double total_weight(const Objective& objective);

}  // namespace osculant
