#include "osculant/model/twice_differentiable.h"

#include <ATen/Context.h>

namespace osculant {

TwiceDifferentiableKernels::TwiceDifferentiableKernels(bool recurrent) {
  auto& context = at::globalContext();
  flash_ = context.userEnabledFlashSDP();
  memory_efficient_ = context.userEnabledMemEfficientSDP();
  cudnn_attention_ = context.userEnabledCuDNNSDP();
  math_ = context.userEnabledMathSDP();
  cudnn_ = context.userEnabledCuDNN();
  context.setSDPUseFlash(false);
  context.setSDPUseMemEfficient(false);
  context.setSDPUseCuDNN(false);
  context.setSDPUseMath(true);
  if (recurrent) context.setUserEnabledCuDNN(false);
}

TwiceDifferentiableKernels::~TwiceDifferentiableKernels() {
  auto& context = at::globalContext();
  context.setSDPUseFlash(flash_);
  context.setSDPUseMemEfficient(memory_efficient_);
  context.setSDPUseCuDNN(cudnn_attention_);
  context.setSDPUseMath(math_);
  context.setUserEnabledCuDNN(cudnn_);
}

}  // namespace osculant
