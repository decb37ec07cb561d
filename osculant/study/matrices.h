#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/linearization.h"
#include "osculant/objective/objective.h"

namespace osculant {

// A curvature matrix that `analyze --matrix` knows.
struct MatrixKind {
  std::string name;   // "gauss_newton"
  std::string title;  // "Gauss-Newton matrix", after "the"
  Needs needs;        // of a product, which its cost follows from
  std::function<std::unique_ptr<LinearOperator>(const Objective&)> make;
  // The most that its rank can be by theory; empty where nothing is known.
  std::function<int64_t(const Objective&)> rank_bound = {};
};

const std::vector<MatrixKind>& matrix_kinds();
const MatrixKind& find_matrix(const std::string& name);  // of a name that is known
std::vector<std::string> matrix_names();

}  // namespace osculant
