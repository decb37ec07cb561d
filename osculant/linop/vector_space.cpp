#include "osculant/linop/vector_space.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace osculant {
namespace {

// Rows summed in the vectors' own dtype before the partial sums are added in float64: short enough that the
// rounding of a chunk stays near u, long enough that the calls cost nothing beside the arithmetic. An inner
// product runs in many lanes side by side and bears longer chunks than a matrix product, which sums in order.
constexpr int64_t kDotChunk = 16384, kGramChunk = 8192;

double dot_by_chunks(const Tensor& x, const Tensor& y) {
  int64_t n = x.size(0);
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kDotChunk) {
    int64_t size = std::min(kDotChunk, n - begin);
    sum += at::dot(x.narrow(0, begin, size), y.narrow(0, begin, size)).item<double>();
  }
  return sum;
}

// Four entries at a time through copies of them: the compiler may then use vector instructions though w be x.
template <bool kNorm, class Scalar>
double subtract_and_dot_in_one_pass(Scalar* w, const Scalar* x, Scalar a, const Scalar* y, const Scalar* v,
                                    int64_t n) {
  constexpr int64_t kLanes = 4;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Scalar d[kLanes], partner[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) d[l] = x[i + l] - a * y[i + l];
    if constexpr (!kNorm)
      for (int64_t l = 0; l < kLanes; ++l) partner[l] = v[i + l];
    for (int64_t l = 0; l < kLanes; ++l) w[i + l] = d[l];
    for (int64_t l = 0; l < kLanes; ++l)
      sums[l] += static_cast<double>(d[l]) * static_cast<double>(kNorm ? d[l] : partner[l]);
  }
  double sum = sums[0] + sums[1] + sums[2] + sums[3];
  for (; i < n; ++i) {
    w[i] = x[i] - a * y[i];
    sum += static_cast<double>(w[i]) * static_cast<double>(v[i]);
  }
  return sum;
}

double dot_of_rows(const Tensor& x, const Tensor& y) {
  if (x.scalar_type() == at::kDouble) return at::dot(x, y).item<double>();
  if (x.is_cpu()) return dot_by_chunks(x, y);
  return at::mul(x, y).sum(at::kDouble).item<double>();
}

Tensor gram_of_rows(const Tensor& X, const Tensor& Y) {
  if (X.scalar_type() == at::kDouble) return X.t().mm(Y).cpu();
  Tensor sum = at::zeros({X.size(1), Y.size(1)}, X.options().dtype(at::kDouble));
  for (int64_t begin = 0, n = X.size(0); begin < n; begin += kGramChunk) {
    int64_t size = std::min(kGramChunk, n - begin);
    sum += X.narrow(0, begin, size).t().mm(Y.narrow(0, begin, size));
  }
  return sum.cpu();
}

}  // namespace

double VectorSpace::epsilon() const {
  switch (dtype()) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kHalf:
      return 9.765625e-4;
    case at::kBFloat16:
      return 7.8125e-3;
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

VectorSpace VectorSpace::dealt_to(const Communicator& processes) const {
  VectorSpace space(size_, options_);
  if (!processes.alone()) space.processes_ = &processes;
  return space;
}

Share VectorSpace::rows_held() const {
  return dealt() ? share_of(size_, *processes_) : Share{0, size_};
}

int64_t VectorSpace::most_rows_held() const {
  int64_t processes = dealt() ? processes_->size() : 1;
  return std::max<int64_t>(1, (size_ + processes - 1) / processes);
}

double VectorSpace::sum(double part) const {
  if (!dealt()) return part;
  Tensor whole = at::full({1}, part, at::kDouble);
  processes_->all_reduce_sum(whole);
  return whole.item<double>();
}

double VectorSpace::dot(const Tensor& x, const Tensor& y) const {
  return sum(dot_of_rows(x, y));
}

double VectorSpace::subtract_and_dot(const Tensor& w, const Tensor& x, double a, const Tensor& y,
                                     const Tensor& v) const {
  auto one_pass = [&]<class Scalar>(Scalar) {
    auto data = [](const Tensor& t) { return t.data_ptr<Scalar>(); };
    auto* f = data(v) == data(w) ? subtract_and_dot_in_one_pass<true, Scalar>
                                 : subtract_and_dot_in_one_pass<false, Scalar>;
    return sum(f(data(w), data(x), static_cast<Scalar>(a), data(y), data(v), w.size(0)));
  };
  bool stored_in_order =
      w.is_cpu() && w.is_contiguous() && x.is_contiguous() && y.is_contiguous() && v.is_contiguous();
  // Several threads are quicker at two passes than one is at one.
  if (stored_in_order && at::get_num_threads() == 1) {
    if (w.scalar_type() == at::kFloat) return one_pass(float());
    if (w.scalar_type() == at::kDouble) return one_pass(double());
  }
  Tensor result = w;
  at::sub_out(result, x, y, a);
  return dot(v, w);
}

double VectorSpace::norm(const Tensor& x) const {
  return std::sqrt(dot(x, x));
}

Tensor VectorSpace::gram(const Tensor& X, const Tensor& Y) const {
  Tensor whole = gram_of_rows(X, Y);
  if (dealt()) processes_->all_reduce_sum(whole);
  return whole;
}

std::vector<Tensor> VectorSpace::coefficients(const std::vector<Tensor>& blocks, const Tensor& x) const {
  std::vector<Tensor> found;
  for (const auto& Q : blocks) found.push_back(Q.t().matmul(x));
  if (!dealt()) return found;
  std::vector<int64_t> counts;
  for (const auto& Q : blocks) counts.push_back(Q.size(1));
  Tensor all = at::cat(found).to(at::kCPU, at::kDouble).contiguous();
  processes_->all_reduce_sum(all);
  return all.to(options_).split_with_sizes(counts);
}

// Of rows dealt out, by the QR of the processes' triangles set one above the other (TSQR: Demmel, Grigori,
// Hoemmen & Langou 2012). A process with fewer rows than columns adds a triangle of fewer rows.
std::pair<Tensor, Tensor> VectorSpace::qr(const Tensor& X) const {
  auto [Q, R] = at::linalg_qr(X);
  if (!dealt()) return {Q, R};
  int64_t k = X.size(1), above = 0;
  std::vector<int64_t> sizes;
  for (int64_t r = 0; r < processes_->size(); ++r) {
    int64_t height = std::min(k, share_of(size_, r, processes_->size()).size());
    if (r < processes_->rank()) above += height;
    sizes.push_back(k * height);
  }
  auto [outer, triangle] = at::linalg_qr(processes_->all_gather(R, sizes).view({-1, k}));
  return {outer.narrow(0, above, R.size(0)).t().mm(Q.t()).t(), triangle};
}

bool VectorSpace::all_finite(const Tensor& X) const {
  return sum(X.isfinite().all().item<bool>() ? 0 : 1) == 0;
}

Tensor VectorSpace::zeros(int64_t columns) const {
  return at::zeros({columns, local_size()}, options_).t();
}

Tensor VectorSpace::unit_vectors(int64_t begin, int64_t count) const {
  Tensor E = zeros(count);
  Share held = rows_held();
  for (int64_t row = std::max(begin, held.begin); row < std::min(begin + count, held.end); ++row)
    E[row - held.begin][row - begin] = 1;
  return E;
}

Tensor VectorSpace::normal(RandomStream& random, int64_t columns) const {
  return rows_of(random.normal({columns, size_}, options_).t());
}

Tensor VectorSpace::rademacher(RandomStream& random, int64_t columns) const {
  return rows_of(random.rademacher({columns, size_}, options_).t());
}

Tensor VectorSpace::rows_of(const Tensor& whole) const {
  if (!dealt()) return whole;
  Share held = rows_held();
  Tensor rows = whole.narrow(0, held.begin, held.size());
  return whole.dim() == 1 ? rows.clone() : rows.t().clone(at::MemoryFormat::Contiguous).t();
}

std::vector<int64_t> VectorSpace::sizes(int64_t columns) const {
  std::vector<int64_t> sizes;
  for (int64_t r = 0; r < processes_->size(); ++r)
    sizes.push_back(columns * share_of(size_, r, processes_->size()).size());
  return sizes;
}

// [n, columns] stored by columns from the rows of one process after the other, each stored by columns.
Tensor VectorSpace::joined(const Tensor& pieces, int64_t columns) const {
  Tensor whole = at::empty({columns, size_}, pieces.options());
  for (int64_t r = 0, at = 0; r < processes_->size(); ++r) {
    Share share = share_of(size_, r, processes_->size());
    int64_t numbers = columns * share.size();
    whole.narrow(1, share.begin, share.size())
        .copy_(pieces.narrow(0, at, numbers).view({columns, share.size()}));
    at += numbers;
  }
  return whole.t();
}

Tensor VectorSpace::gather(const Tensor& rows) const {
  if (!dealt()) return rows;
  if (rows.dim() == 1) return processes_->all_gather(rows, sizes(1));
  int64_t columns = rows.size(1);
  Tensor pieces = processes_->all_gather(rows.t(), sizes(columns));
  return columns == 1 ? pieces.unsqueeze(1) : joined(pieces, columns);
}

Tensor VectorSpace::gather_on_first(const Tensor& rows) const {
  if (!dealt()) return rows;
  Tensor whole;
  for (int64_t i = 0; i < rows.size(1); ++i) {
    Tensor vector = processes_->gather_on_first(rows.select(1, i), sizes(1));
    if (!vector.defined()) continue;
    if (i == 0) whole = at::empty({rows.size(1), size_}, vector.options());
    whole[i].copy_(vector);
  }
  return whole.defined() ? whole.t() : whole;
}

bool VectorSpace::operator==(const VectorSpace& other) const {
  return size_ == other.size_ && dtype() == other.dtype() && device() == other.device() &&
         processes_ == other.processes_;
}

}  // namespace osculant
