#include "osculant/data/synthetic.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "osculant/base/error.h"
#include "osculant/base/random.h"

namespace osculant::synthetic {
namespace {

const auto kDouble = at::TensorOptions().dtype(at::kDouble);

void check_count(const char* field, int64_t value, int64_t minimum = 1) {
  require_at_least(field, static_cast<double>(value), static_cast<double>(minimum));
}

Dataset regression(const Tensor& x, const Tensor& y, at::ScalarType dtype) {
  return Dataset(x, y).to(at::kCPU, dtype);
}

}  // namespace

void TeacherOptions::check() const {
  check_count("examples", examples);
  check_count("inputs", inputs);
  check_count("hidden", hidden);
  check_count("outputs", outputs);
  require_non_negative("noise", noise);
}

Dataset teacher(const TeacherOptions& options) {
  options.check();
  RandomStream weights(options.seed, "synthetic.teacher.weights"),
      examples(options.seed, "synthetic.teacher.examples"), noise(options.seed, "synthetic.teacher.noise");
  auto scaled = [&](int64_t rows, int64_t cols) {
    return weights.normal({rows, cols}, kDouble) / std::sqrt(static_cast<double>(cols));
  };
  auto W = scaled(options.hidden, options.inputs), V = scaled(options.outputs, options.hidden);
  auto b = weights.normal({options.hidden}, kDouble);
  auto x = examples.normal({options.examples, options.inputs}, kDouble);
  auto y = at::tanh(at::addmm(b, x, W.t())).mm(V.t());
  if (options.noise > 0) y += options.noise * noise.normal(y.sizes(), kDouble);
  return regression(x, y, options.dtype);
}

void MixtureOptions::check() const {
  check_count("examples", examples);
  check_count("features", features);
  require_between("classes", static_cast<double>(classes), 1, static_cast<double>(examples));
  require_non_negative("separation", separation);
}

Dataset gaussian_mixture(const MixtureOptions& options) {
  options.check();
  RandomStream centres(options.seed, "synthetic.mixture.centres"),
      examples(options.seed, "synthetic.mixture.examples");
  auto centre = options.separation * centres.normal({options.classes, options.features}, kDouble);
  auto label = examples.permutation(options.examples).remainder(options.classes);
  auto x = centre.index_select(0, label) + examples.normal({options.examples, options.features}, kDouble);
  return Dataset(x, label).to(at::kCPU, options.dtype);
}

Dataset sine(int64_t examples, at::ScalarType dtype) {
  check_count("examples", examples, 2);
  auto x = at::linspace(-1, 1, examples, kDouble).unsqueeze(1);
  return regression(x, at::sin(std::numbers::pi * x), dtype);
}

Dataset sinc(int64_t examples, uint64_t seed, at::ScalarType dtype) {
  check_count("examples", examples);
  auto x = 2 * RandomStream(seed, "synthetic.sinc").uniform({examples, 1}, kDouble) - 1;
  return regression(x, at::sinc(10 / std::numbers::pi * x), dtype);  // torch's sinc(t) is sin(pi t) / (pi t)
}

Dataset parity(int64_t bits, at::ScalarType dtype) {
  require_between("bits", static_cast<double>(bits), 1, 24);
  auto pattern = at::arange(int64_t{1} << bits).unsqueeze(1);
  auto bit = at::bitwise_right_shift(pattern, at::arange(bits).unsqueeze(0)).bitwise_and(1);
  return regression((2 * bit - 1).to(at::kDouble), bit.sum(1, /*keepdim=*/true).remainder(2).to(at::kDouble),
                    dtype);
}

}  // namespace osculant::synthetic
