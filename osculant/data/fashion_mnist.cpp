#include "osculant/data/fashion_mnist.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/data/idx.h"

namespace osculant {
namespace {

constexpr const char* kDebianFolder = "/usr/share/datasets/fashion-mnist";
constexpr const char* kVariable = "OSCULANT_FASHION_MNIST";

std::string folder_of(const std::string& given) {
  if (!given.empty()) return given;
  const char* variable = std::getenv(kVariable);
  return variable != nullptr && *variable != '\0' ? variable : kDebianFolder;
}

// The file as it is, compressed or not.
std::string find_file(const std::string& folder, const std::string& name) {
  for (const auto& candidate : {name + ".gz", name}) {
    auto path = std::filesystem::path(folder) / candidate;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path.string();
  }
  fail_data(
      fmt::format("Fashion-MNIST: there is no {0}/{1}.gz; install Debian's package dataset-fashion-mnist "
                  "(apt install dataset-fashion-mnist) or set {2} to the folder that has it",
                  folder, name, kVariable));
}

}  // namespace

Dataset fashion_mnist(Split split, const std::string& given) {
  auto folder = folder_of(given);
  std::string prefix = split == Split::train ? "train" : "t10k";
  auto images_path = find_file(folder, prefix + "-images-idx3-ubyte");
  auto labels_path = find_file(folder, prefix + "-labels-idx1-ubyte");
  auto images = load_idx(images_path), labels = load_idx(labels_path);
  if (images.scalar_type() != at::kByte || images.dim() != 3)
    fail_data(fmt::format("{}: must hold images of bytes, has shape [{}]", images_path,
                          fmt::join(images.sizes(), ", ")));
  if (labels.scalar_type() != at::kByte || labels.dim() != 1 || labels.size(0) != images.size(0))
    fail_data(fmt::format("{}: must hold one label for each of {} images, has shape [{}]", labels_path,
                          images.size(0), fmt::join(labels.sizes(), ", ")));
  return Dataset(images.unsqueeze(1).to(at::kFloat), labels.to(at::kLong));
}

}  // namespace osculant
