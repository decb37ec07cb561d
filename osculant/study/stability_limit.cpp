#include "osculant/study/stability_limit.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "osculant/base/text.h"
#include "osculant/optim/methods.h"

namespace osculant {
namespace {

// Of a method's option, given or its default, as text.
std::string option_of(const TrainConfig& train, const char* name) {
  for (const auto& info : find_method(train.method).options)
    if (info.name == name) return info.default_value;
  return "";
}

double number_of(const TrainConfig& train, const char* name) {
  auto found = train.options.find(name);
  if (found != train.options.end())
    if (const auto* number = std::get_if<double>(&found->second)) return *number;
  return std::strtod(option_of(train, name).c_str(), nullptr);
}

bool flag_of(const TrainConfig& train, const char* name) {
  auto found = train.options.find(name);
  if (found != train.options.end())
    if (const auto* flag = std::get_if<bool>(&found->second)) return *flag;
  return option_of(train, name) == "true";
}

}  // namespace

StabilityLimit stability_limit(const TrainConfig& train) {
  StabilityLimit limit{std::nan(""), ""};
  bool plain = train.method == "sgd", heavy = train.method == "momentum";
  if (!plain && !heavy) {
    limit.words = fmt::format(
        "{} scales its steps: what it is stable below is a matter of its own "
        "preconditioned Hessian, which was not measured",
        train.method);
    return limit;
  }
  double eta = number_of(train, "learning_rate"), w = number_of(train, "weight_decay");
  limit.learning_rate = eta;
  if (plain) {
    limit.curvature = 2 / eta;
    limit.words = fmt::format("2 / eta at eta = {}", format_number(eta));
  } else {
    double b = limit.momentum = number_of(train, "momentum");
    limit.nesterov = flag_of(train, "nesterov");
    limit.curvature = (2 + 2 * b) / eta / (limit.nesterov ? 1 + 2 * b : 1);
    limit.words = fmt::format("{} at eta = {}, b = {}",
                              limit.nesterov ? "(2 + 2 b) / (1 + 2 b) / eta" : "(2 + 2 b) / eta",
                              format_number(eta), format_number(b));
  }
  if (w > 0) {
    limit.curvature -= w;
    limit.words += fmt::format(" less the weight decay {}", format_number(w));
  }
  return limit;
}

double curvature_of_growth(const StabilityLimit& limit, double r) {
  if (std::isnan(limit.curvature) || limit.nesterov) return std::nan("");
  double b = limit.momentum;
  return (1 + b + r + b / r) / limit.learning_rate;
}

}  // namespace osculant
