#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/linearization.h"
#include "osculant/objective/objective.h"
#include "osculant/study/run_config.h"

namespace osculant {

// A curvature matrix that `analyze --matrix` knows.
struct MatrixKind {
  std::string name;   // "gauss_newton"
  std::string title;  // "Gauss-Newton matrix", after "the"
  Needs needs;        // of a product, which its cost follows from
  std::function<std::unique_ptr<LinearOperator>(const Objective&, const RunConfig&)> make;
  // Throws Error(usage) for objectives that have no such matrix; empty where all have.
  std::function<void(const Objective&)> check = {};
  // The most that its rank can be by theory; empty where nothing is known.
  std::function<int64_t(const Objective&, const RunConfig&)> rank_bound = {};
  std::string note = {};      // what a reader of its eigenvalues must know; empty: nothing
  // f + g's + s'A s / 2 is a model of the objective; gradient descent is stable along an eigenvalue l for
  // steps below 2 / l.
  bool models_objective = false;
};

const std::vector<MatrixKind>& matrix_kinds();
const MatrixKind* matrix_kind(const std::string& name);  // null: not known
const MatrixKind& find_matrix(const std::string& name);  // of a name that is known
std::vector<std::string> matrix_names();

}  // namespace osculant
