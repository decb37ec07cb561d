// A user's first program against an installed Osculant: A = diag(1, 2, 3) + 10 I maps (1, 1, 1) to (11, 12, 13).
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>

#include <iostream>

#include "osculant/base/error.h"
#include "osculant/linop/operators.h"

int main() {
  const auto A = osculant::shift(osculant::diagonal_operator(at::arange(1, 4, at::kDouble)), 10);
  const at::Tensor y = A->apply(at::ones({3}, at::kDouble));
  std::cout << A->name() << " * ones = " << y << '\n';
  if (!at::allclose(y, at::tensor({11.0, 12.0, 13.0}, at::kDouble)) || A->products() != 1) return 1;
  try {
    A->apply(at::ones({4}, at::kDouble));
  } catch (const osculant::Error& error) {
    std::cout << "a vector that does not fit is refused: " << error.what() << '\n';
    return 0;
  }
  return 1;
}
