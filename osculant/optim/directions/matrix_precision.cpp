#include "osculant/optim/directions/matrix_precision.h"

#include <ATen/cpu/Utils.h>

#include <algorithm>
#include <array>

namespace osculant {
namespace {

bool multiplies_bfloat16(at::Device device) {
  if (!device.is_cpu()) return true;
  static const auto has = at::cpu::get_cpu_capabilities();
  return std::ranges::any_of(std::array{"avx512_bf16", "amx_bf16", "arm_bf16"}, [](const char* name) {
    auto found = has.find(name);
    return found != has.end() && found->second.isBool() && found->second.toBool();
  });
}

}  // namespace

void visit_precision(OptionVisitor& v, MatrixPrecision& precision, const char* doc) {
  v.choice<MatrixPrecision>("precision", precision,
                            {{"auto", MatrixPrecision::automatic},
                             {"parameters", MatrixPrecision::parameters},
                             {"bfloat16", MatrixPrecision::bfloat16}},
                            doc);
}

bool in_bfloat16(MatrixPrecision precision, const ParameterLayout& layout) {
  return precision == MatrixPrecision::bfloat16 ||
         (precision == MatrixPrecision::automatic && layout.dtype() == at::kFloat &&
          multiplies_bfloat16(layout.device()));
}

}  // namespace osculant
