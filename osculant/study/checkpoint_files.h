#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "osculant/io/archive.h"
#include "osculant/model/model.h"

namespace osculant {

// checkpoints/step-N.safetensors, as training leaves them.

inline constexpr const char* checkpoint_kind = "osculant training checkpoint";
inline constexpr int64_t checkpoint_version = 1;

int64_t step_of(const std::filesystem::path& checkpoint);                      // -1: not named as one
std::vector<std::filesystem::path> checkpoints_in(const std::string& folder);  // newest first

// theta [n] at the checkpoint. Throws Error(data) where it is damaged, or of another network.
Tensor checkpoint_theta(const std::filesystem::path& checkpoint, const Model& model);

}  // namespace osculant
