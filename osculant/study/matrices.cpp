#include "osculant/study/matrices.h"

#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/rank_bound.h"

namespace osculant {
namespace {

template <class Operator>
std::unique_ptr<LinearOperator> make(const Objective& objective) {
  return std::make_unique<Operator>(objective);
}

}  // namespace

const std::vector<MatrixKind>& matrix_kinds() {
  static const std::vector<MatrixKind> kinds{
      {"hessian", "Hessian", {.gradient = true, .hessian = true}, make<Hessian>},
      {"gauss_newton",
       "Gauss-Newton matrix",
       {.gradient = true, .gauss_newton = true},
       make<GaussNewton>,
       gauss_newton_rank_bound},
  };
  return kinds;
}

const MatrixKind& find_matrix(const std::string& name) {
  for (const auto& kind : matrix_kinds())
    if (kind.name == name) return kind;
  fail(ErrorKind::internal, fmt::format("no matrix is called {}", name));
}

std::vector<std::string> matrix_names() {
  std::vector<std::string> names;
  for (const auto& kind : matrix_kinds()) names.push_back(kind.name);
  return names;
}

}  // namespace osculant
