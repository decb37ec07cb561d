#include "osculant/study/checkpoint_files.h"

#include <algorithm>

namespace osculant {

namespace fs = std::filesystem;

int64_t step_of(const fs::path& checkpoint) {
  std::string name = checkpoint.stem().string();
  constexpr size_t most = 5 + 18;  // digits that any int64 holds
  bool ours = name.starts_with("step-") && name.size() > 5 && name.size() <= most &&
              checkpoint.extension() == ".safetensors" &&
              name.find_first_not_of("0123456789", 5) == std::string::npos;
  return ours ? std::stoll(name.substr(5)) : -1;
}

std::vector<fs::path> checkpoints_in(const std::string& folder) {
  std::vector<fs::path> found;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder, absent))
    if (step_of(entry.path()) >= 0) found.push_back(entry.path());
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return step_of(a) > step_of(b); });
  return found;
}

Tensor checkpoint_theta(const fs::path& checkpoint, const Model& model) {
  auto archive = Archive::load(checkpoint.string(), checkpoint_kind, checkpoint_version);
  return archive.scope("minimizer").scope("stepper").tensor("theta", model.layout().theta());
}

}  // namespace osculant
