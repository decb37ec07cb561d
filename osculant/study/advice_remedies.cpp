#include "osculant/study/advice_remedies.h"

#include <fmt/format.h>

#include <cmath>

#include "osculant/base/text.h"

namespace osculant {
namespace {

constexpr double dead_share = 0.3, rank_one_share = 0.99, flat_gradient = 1e-4;

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t most = 5;
  std::vector<std::string> shown(names.begin(),
                                 names.begin() + static_cast<std::ptrdiff_t>(std::min(most, names.size())));
  std::string out = fmt::format("{}", fmt::join(shown, ", "));
  return names.size() > most ? out + fmt::format(" and {} more", names.size() - most) : out;
}

// Steps without a memory of curvature are unstable beyond 2 / l, with momentum b beyond (2 + 2 b) / l.
double stability_limit(const RunConfig& config, double largest) {
  auto option = [&](const char* name, double otherwise) {
    auto found = config.train.options.find(name);
    const double* number =
        found == config.train.options.end() ? nullptr : std::get_if<double>(&found->second);
    return number ? *number : otherwise;
  };
  return (config.train.method == "momentum" ? 2 + 2 * option("momentum", 0.9) : 2) / largest;
}

}  // namespace

std::string stability_words(double largest, double bound, double doubt) {
  constexpr double sure = 0.05;
  if (largest + bound <= 0) return "no learning rate of gradient descent is too large for it";
  if (largest - bound <= 0) return "the learning rate below which gradient descent is stable is unknown";
  if (doubt <= sure)
    return fmt::format("gradient descent is stable below a learning rate of {}{}",
                       format_number(2 / (largest + bound)),
                       doubt > 0 ? ", but for the same probability" : "");
  return fmt::format(
      "the learning rate below which gradient descent is stable is unknown: at most {}, and less where a "
      "larger eigenvalue was missed",
      format_number(2 / (largest - bound)));
}

std::vector<std::string> preflight_remedies(const CheckRecord& check) {
  std::vector<std::string> out;
  if (!check.deterministic)
    out.push_back(
        "The network gives other outputs for the same inputs the next time (dropout or noise): curvature and "
        "line searches need a function. Take it out, or use methods that work on batches.");
  if (!check.unused.empty())
    out.push_back(fmt::format("The loss does not depend on {} of the parameters: {}. They never learn.",
                              check.unused.size(), listed(check.unused)));
  if (!check.zero_gradient.empty())
    out.push_back(fmt::format("The gradient of {} parameters is exactly 0 on the examples tried: {}.",
                              check.zero_gradient.size(), listed(check.zero_gradient)));
  if (!check.second_derivatives && check.deterministic)
    out.push_back("The network cannot be differentiated twice (" + check.second_derivatives_message +
                  "): curvature methods and that part of the advice are out.");
  return out;
}

std::vector<std::string> flow_remedies(const GradientFlow& flow) {
  std::vector<std::string> out;
  if (nothing_gets_through(flow.verdict))
    out.push_back("No method trains this network from here. " + flow.words);
  for (const auto& layer : flow.layers)
    if (layer.dead > dead_share)
      out.push_back(
          fmt::format("{:.3g} % of the units of layer {} are 0 on every example tried: dead, and "
                      "nothing revives them. A lower learning rate, biases of 0 or leaky_relu keep them.",
                      100 * layer.dead, layer.name));
  return out;
}

std::vector<std::string> curvature_remedies(const SampleCurvature& c, const RunConfig& config) {
  std::vector<std::string> out;
  double largest = std::max(std::abs(c.largest), std::abs(c.smallest));
  // 1 / stable rank is the share of norm_F^2 that the largest eigenvalue has at least.
  if (1 / c.stable_rank.high >= rank_one_share)
    out.push_back(
        fmt::format("The Hessian has rank one, by its squared norm to {:.3g} %: one direction is curved, "
                    "and all others are flat. A method that inverts it must be damped.",
                    100 / c.stable_rank.high));
  if (c.gradient_norm < flat_gradient * largest && c.smallest < -c.bound)
    out.push_back(
        fmt::format("This is next to a saddle: the gradient's norm is {}, and there is an eigenvalue of "
                    "{} or below. Gradients say nothing here; newton_cg and trust_region leave it along "
                    "negative curvature.",
                    format_number(c.gradient_norm), format_number(c.smallest + c.bound)));
  auto rate = config.train.options.find("learning_rate");
  bool plain = config.train.method == "sgd" || config.train.method == "momentum";
  if (plain && rate != config.train.options.end() && c.largest > c.bound) {
    const double* eta = std::get_if<double>(&rate->second);
    double limit = stability_limit(config, c.largest - c.bound);
    if (eta && *eta > limit)
      out.push_back(
          fmt::format("The learning rate {} is beyond {}, where {} is unstable along an eigenvalue of {} "
                      "(on the sample).",
                      *eta, format_number(limit), config.train.method, format_number(c.largest)));
  }
  return out;
}

}  // namespace osculant
