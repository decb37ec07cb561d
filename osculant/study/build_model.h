#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

#include "osculant/model/model.h"
#include "osculant/study/run_config.h"

namespace osculant {

// The network that a configuration names, with the weights it names, on a device and in a dtype.
Model build_model(const RunConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed);

}  // namespace osculant
