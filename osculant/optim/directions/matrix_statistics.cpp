#include "osculant/optim/directions/matrix_statistics.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <string>
#include <utility>

#include "osculant/io/archive.h"

namespace osculant {

void TwoSidedGroup::update_factors(const Tensor& gradient, double beta, double alpha, at::ScalarType dtype) {
  Tensor G = group.of(gradient).to(dtype);
  if (left.factor.defined()) add_gram(left.factor, G.mT(), beta, alpha);
  if (right.factor.defined()) add_gram(right.factor, G, beta, alpha);
}

std::vector<TwoSidedGroup> two_sided(const std::vector<MatrixGroup>& groups, const at::TensorOptions& options,
                                     const std::function<bool(int64_t)>& has_side) {
  auto side = [&](int64_t count, int64_t d) {
    if (!has_side(d)) return MatrixSide{};
    Tensor identity = at::eye(d, options).expand({count, d, d}).contiguous();
    return MatrixSide{at::zeros_like(identity), identity};
  };
  std::vector<TwoSidedGroup> all;
  for (const auto& group : groups)
    all.push_back({group, side(group.count(), group.rows()), side(group.count(), group.columns())});
  return all;
}

namespace {

// visit(name, tensor) of all that the groups' sides hold.
template <class Groups, class Visit>
void visit_sides(Groups& groups, const char* transform, Visit visit) {
  for (size_t i = 0; i < groups.size(); ++i)
    for (auto [name, side] : {std::pair{"left", &groups[i].left}, {"right", &groups[i].right}}) {
      if (!side->factor.defined()) continue;
      visit(fmt::format("{}.{}.factor", name, i), side->factor);
      visit(fmt::format("{}.{}.{}", name, i, transform), side->transform);
    }
}

}  // namespace

void save_sides(Archive& archive, const std::vector<TwoSidedGroup>& groups, const char* transform) {
  visit_sides(groups, transform,
              [&](const std::string& name, const Tensor& t) { archive.put(name, t.clone()); });
}

void load_sides(const Archive& archive, std::vector<TwoSidedGroup>& groups, const char* transform) {
  visit_sides(groups, transform,
              [&](const std::string& name, Tensor& t) { t = archive.tensor(name, t).clone(); });
}

}  // namespace osculant
