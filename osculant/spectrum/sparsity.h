#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "osculant/linop/linear_operator.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/functions.h"
#include "osculant/tensor/layer_blocks.h"

namespace osculant {

struct SparsityOptions {
  int64_t norm_products = 200;   // at most so many are spent on the norms of blocks; see least_norm_products
  int64_t columns = 60;          // drawn and computed for the share of negligible entries
  double threshold = 1e-3;       // t: an entry is negligible that is no larger than t * scale
  double tolerance = 0.1;        // what a structure may leave out, relative to norm_F
  int64_t dense_limit = 500;     // n up to which the matrix is formed and all is exact
  double confidence = 0.95;      // of each interval
  double miss_tolerance = 1e-2;  // of the eigenvalue found for the scale where no pairs are given
  uint64_t seed = 0;
  std::function<bool(int64_t products)> progress = {};  // called between blocks of products; false stops

  void check() const;
};

// What a matrix is, to the tolerance: what is left out has a norm of at most tolerance * norm_F.
enum class Structure {
  diagonal,        // nothing but its diagonal
  block_diagonal,  // nothing but the blocks of each layer with itself
  band,            // nothing but those of layers at most `width` apart
  dense,           // layers at opposite ends belong to it too
  unknown,         // the intervals allow more than one of these
};
std::string_view to_string(Structure structure);

// Where the entries of a symmetric A lie. Blocks are pairs of layers, A_ab [n_a, n_b].
//
// Norms: for each layer b products with vectors z that are 0 elsewhere: all n_b unit vectors where no more
// probes than that are affordable, else N normal ones, z'A_ab'A_ab z having the mean norm_F(A_ab)^2. Both
// sides of a pair see the same norm, since A_ab = A_ba'. Intervals are interval_of_sum's (norms.h): they
// cover in about 91 (a block of rank one, N = 8) to 95 % (blocks of many like singular values) where 95 are
// asked for. So do those of sums of blocks; ratios of two take both at half the failure, and cover more.
//
// Within a layer the regression of (A z)_i on z_i over probes has the slope A_ii, a t interval, and a
// residual that is sum over j != i of A_ij^2 times chi-square of N - 1 degrees of freedom: the part off the
// diagonal, for which that one chi-square is taken (conservative).
//
// Entries: the scale is a lower bound on the largest entry that is the largest entry where A is positive
// semidefinite: the largest computed of its diagonal, or norm_2 / n if that is more; columns are drawn
// afterwards and have no part in it. Columns are clusters: the interval rests on the shares seen in whole
// columns, by betting (mean_of_bounded, statistics.h), and is conservative whatever the columns are.
struct SparsityResult {
  std::vector<LayerBlock> blocks;
  std::vector<std::vector<Measured>> norms;  // [a][b]: norm_F(A_ab)
  Measured frobenius;                        // norm_F
  // norm_F(A - B) / norm_F(A), B the diagonal of A, or its blocks of layers at most w apart, w from 0 to
  // their number less 1 (where nothing is left out).
  Measured off_diagonal;
  std::vector<Measured> beyond;

  Structure structure = Structure::unknown;
  int64_t width = 0;        // of a band
  double tolerance = 0;     // as given
  std::string words;        // the structure with its numbers
  double scale = 0;         // NaN: unknown
  double largest_high = 0;  // no entry is larger, but for miss_probability; none is proven to exceed `scale`
  double miss_probability = 0;
  double threshold = 0;  // t
  Measured negligible;   // share of entries with abs(A_ij) <= t * scale
  int64_t columns = 0;   // that it was seen in

  bool exact = false;  // the matrix was formed
  double confidence = 0.95;
  int64_t size = 0, products = 0;
  std::string name;  // of the operator
  std::string how;   // what it rests on

  std::string report() const;  // for a person
};

// 4 for each layer, or as many as it has parameters. sparsity() throws Error(usage) where norm_products is
// less.
int64_t least_norm_products(const std::vector<LayerBlock>& blocks);

// Products that sparsity() takes for the norms, the scale and the columns, with pairs given; and
// diagonal_block_norms().
int64_t block_norm_products(const std::vector<LayerBlock>& blocks, const SparsityOptions& options);
int64_t sparsity_products(const std::vector<LayerBlock>& blocks, const SparsityOptions& options);

// norm_F(A_bb) of each layer alone, from at most norm_products products; the other options do not matter but
// for seed, confidence and progress. Empty where products were not finite or progress said to stop.
std::vector<Measured> diagonal_block_norms(const LinearOperator& A, const std::vector<LayerBlock>& blocks,
                                           const SparsityOptions& options = {});

// `blocks` are neighbours that make up the whole of A. norm_2 is taken from `pairs`, of both signs, or found
// here. Unknown (NaN, unbounded intervals) where products were not finite or progress said to stop.
SparsityResult sparsity(const LinearOperator& A, const std::vector<LayerBlock>& blocks,
                        const SparsityOptions& options = {}, const EigenResult* pairs = nullptr);

}  // namespace osculant
