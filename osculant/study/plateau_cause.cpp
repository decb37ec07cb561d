#include "osculant/study/plateau_cause.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/diagnose/noise_scale.h"

namespace osculant {
namespace {

constexpr int64_t lanczos_steps = 8;
constexpr double least_share = 0.1;      // of the largest eigenvalue, that negative curvature counts from
constexpr double saddle_promise = 0.01;  // of the loss: what the gradient may promise at a saddle
constexpr double road_ahead = 10, road_gain = 0.05;  // times the road behind; of the loss
constexpr double least_gain = 1e-4;                  // of the loss at the first step: else it has arrived

std::string words_of(const Measured& x) {
  return x.exact() ? format_number(x.value)
                   : fmt::format("{} (95 %: {} to {})", format_number(x.value), format_number(x.low),
                                 format_number(x.high));
}

WatchWarning plateau_warning(const Plateau& plateau, const Measured& measured, const std::string& cause,
                             const std::string& remedy) {
  return {.kind = "plateau",
          .step = plateau.step,
          .last_step = plateau.step,
          .measured = {measured.value, measured.low, measured.high},
          .message = fmt::format(
              "The loss stands still at {}: over {} steps it fell by {:.2g} % of itself (95 %: {:.2g} to "
              "{:.2g} %). {}",
              format_number(plateau.loss), plateau.window, 100 * plateau.fall.value, 100 * plateau.fall.low,
              100 * plateau.fall.high, cause),
          .remedy = remedy};
}

// |g| of the whole objective at most, from the noise scale where there is one.
double squared_gradient(const std::optional<NoiseScale>& noise, const Plateau& plateau) {
  double own = plateau.gradient_norm * plateau.gradient_norm;
  return noise ? std::min(std::max(noise->squared_gradient.high, 0.0), own) : own;
}

std::optional<WatchWarning> saddle(const ExampleParts& parts, const Plateau& plateau,
                                   const std::optional<NoiseScale>& noise, RandomStream& random) {
  auto ends = extreme_directions(parts.fit.front(), {}, lanczos_steps, random);
  if (!ends.smallest.defined() || !(ends.smallest_value < 0)) return std::nullopt;
  Measured curvature = measure_along(parts, ends.smallest).curvature;
  if (!(curvature.high < -least_share * ends.largest_value)) return std::nullopt;
  // Where negative curvature c takes over from a gradient g, at |g| / |c|, the gradient has brought g^2 /
  // |c|.
  double square = squared_gradient(noise, plateau), promise = square / -curvature.high;
  if (!(promise <= saddle_promise * std::abs(plateau.loss))) return std::nullopt;
  return plateau_warning(
      plateau, curvature,
      fmt::format("It is a saddle: the gradient's norm is at most {}, and along one direction the curvature "
                  "is {}.",
                  format_number(std::sqrt(square)), words_of(curvature)),
      "Follow negative curvature: newton_cg, trust_region, cubic_newton or lsr1; or, with "
      "train.gradient_norm, train.require_psd.");
}

// B = tr C / |G|^2, G over the distribution of the sample, or over the data themselves where they are all.
Measured batch_of_even_noise(const NoiseScale& noise, bool whole) {
  if (!whole) return noise.scale;
  auto N = static_cast<double>(noise.examples);
  double square = noise.squared_gradient.value + noise.trace.value / N, B = noise.trace.value / square;
  return {B, B, B};
}

std::optional<WatchWarning> too_noisy(const Plateau& plateau, const std::optional<NoiseScale>& noise,
                                      bool whole) {
  if (!noise) return std::nullopt;
  Measured B = batch_of_even_noise(*noise, whole);
  if (!(B.low > static_cast<double>(plateau.batch_size))) return std::nullopt;
  std::string size = std::isinf(B.high) ? fmt::format("{} examples or more (95 %)", format_number(B.low))
                                        : words_of(B) + " examples";
  return plateau_warning(
      plateau, B,
      fmt::format("Noise is larger than the gradient: batches have {} examples, and it takes {} for as much "
                  "signal as noise.",
                  plateau.batch_size, size),
      fmt::format("A batch of {} or more, a learning rate that falls (train.schedule = \"cosine\"), or an "
                  "average of the iterates (train.averaging); with labels that say nothing of the inputs, "
                  "none of them helps.",
                  format_number(std::ceil(B.low))));
}

// How far the minimum lies along the road that the last steps took, in lengths of that road.
std::optional<WatchWarning> road_leads_on(const ExampleParts& parts, const Plateau& plateau) {
  if (!plateau.moved.defined() || plateau.moved_steps == 0) return std::nullopt;
  double length = plateau.moved.norm().item<double>();
  if (!(length > 0)) return std::nullopt;
  AlongDirection along = measure_along(parts, plateau.moved / length);
  if (!(along.slope.high < 0)) return std::nullopt;
  double curvature = along.curvature.high, slope = -along.slope.high;
  double lengths = curvature > 0 ? slope / curvature / length : std::numeric_limits<double>::infinity();
  double gain = curvature > 0 ? slope * slope / (2 * curvature) : std::numeric_limits<double>::infinity();
  double worth = std::max(road_gain * std::abs(plateau.loss), least_gain * std::abs(plateau.first_loss));
  if (!(lengths >= road_ahead && gain >= worth)) return std::nullopt;
  std::string far = std::isinf(lengths)
                        ? "has no minimum along it that a quadratic model would know of"
                        : fmt::format(
                              "has its minimum at least {} times as far on (95 %), where the loss "
                              "would be lower by {} or more",
                              format_number(lengths), format_number(gain));
  std::string cause = fmt::format(
      "The last {} steps went {} along a road that still falls by {} a unit of "
      "length, and {}.",
      plateau.moved_steps, format_number(length), format_number(slope), far);
  Measured measured{std::isinf(lengths) ? lengths : -along.slope.value / along.curvature.value / length,
                    lengths, std::numeric_limits<double>::infinity()};
  // How much longer steps could be, at most: what is then left of the road tells a valley from timid steps.
  double room = plateau.limit.curvature / plateau.sharpness.low;
  bool walls = plateau.sharpness.low > 0 && lengths >= road_ahead * std::max(room, 1.0);
  if (walls)
    return plateau_warning(
        plateau, measured,
        cause + fmt::format(" It is a valley: across it the curvature is {}, and a step beyond {} is "
                            "unstable ({}).",
                            words_of(plateau.sharpness), format_number(plateau.limit.curvature),
                            plateau.limit.words),
        "A method that scales directions by curvature (osculant advise ranks them), or momentum; a larger "
        "step is not stable.");
  return plateau_warning(plateau, measured, cause + " Steps are too small.",
                         plateau.limit.learning_rate > 0 && !std::isnan(plateau.sharpness.high)
                             ? fmt::format("A larger learning rate: up to {} is stable along the steepest "
                                           "direction found.",
                                           format_number(plateau.limit.learning_rate *
                                                         plateau.limit.curvature / plateau.sharpness.high))
                             : "A larger learning rate, or a method that finds the length of its steps.");
}

std::optional<NoiseScale> noise_of(const Objective& objective, int64_t examples, RandomStream& random) {
  const Term& term = objective.terms()[0];
  if (term.model.couples_examples() || term.model.required_batch_size() > 0) return std::nullopt;
  Tensor indices = random.permutation(objective.examples()).narrow(0, 0, examples);
  auto part = std::make_shared<BatchInMemory>(term.data.select(indices));
  constexpr int64_t piece = 256;
  try {
    return noise_scale(objective.on(std::vector<BatchSource>{BatchSource(part, piece)}));
  } catch (const Error&) {  // weighted examples; layers without closed forms
    return std::nullopt;
  }
}

}  // namespace

int64_t noise_examples(int64_t batch_size, int64_t examples) {
  return std::min(examples, std::max<int64_t>(8 * batch_size, 64));
}

std::optional<WatchWarning> plateau_cause(const Objective& objective, const ExampleParts& parts,
                                          const Plateau& plateau, RandomStream& random) {
  int64_t N = objective.examples(), sample = noise_examples(plateau.batch_size, N);
  std::optional<NoiseScale> noise;
  if (plateau.batch_size < N) noise = noise_of(objective, sample, random);
  if (auto found = saddle(parts, plateau, noise, random)) return found;
  if (auto found = too_noisy(plateau, noise, sample == N)) return found;
  return road_leads_on(parts, plateau);
}

}  // namespace osculant
