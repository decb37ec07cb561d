#include "osculant/objective/weight_decay.h"

#include <torch/types.h>

#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {

namespace {

// The value of each parameter, in the layout's order.
std::vector<double> per_parameter(const ParameterLayout& layout, const std::vector<ParameterRule>& rules,
                                  double otherwise) {
  std::vector<double> values(layout.parameters().size(), otherwise);
  for (const auto& rule : rules) {
    bool matched = false;
    for (size_t i = 0; i < values.size(); ++i) {
      if (!glob_match(rule.match, layout.parameters()[i].name)) continue;
      values[i] = rule.value;
      matched = true;
    }
    if (!matched) fail_usage("parameter group \"" + rule.match + "\": matches no parameter");
  }
  return values;
}

class WeightDecay : public Regularizer {
 public:
  WeightDecay(double strength, std::vector<ParameterRule> rules)
      : strength_(strength), rules_(std::move(rules)) {}

  std::string name() const override { return "weight decay"; }

  Tensor value(const ParameterLayout& layout) const override {
    Tensor sum = at::zeros({}, layout.options());
    auto decay = per_parameter(layout, rules_, strength_);
    for (size_t i = 0; i < decay.size(); ++i)
      if (decay[i] != 0) sum = sum + layout.leaves()[i].square().sum() * (decay[i] / 2);
    return sum;
  }

  Tensor gauss_newton_product(const ParameterLayout& layout, const Tensor& V) const override {
    Tensor d = per_coordinate(layout, rules_, strength_);
    return V.dim() == 1 ? V * d : V * d.unsqueeze(1);
  }

 private:
  double strength_;
  std::vector<ParameterRule> rules_;
};

}  // namespace

Tensor per_coordinate(const ParameterLayout& layout, const std::vector<ParameterRule>& rules,
                      double otherwise) {
  Tensor values = at::empty({layout.size()}, layout.options());
  auto each = per_parameter(layout, rules, otherwise);
  for (size_t i = 0; i < each.size(); ++i) {
    const auto& parameter = layout.parameters()[i];
    values.narrow(0, parameter.offset, parameter.size).fill_(each[i]);
  }
  return values;
}

std::shared_ptr<const Regularizer> weight_decay(double strength, std::vector<ParameterRule> rules) {
  require_non_negative("weight_decay", strength);
  for (const auto& rule : rules) require_non_negative("weight_decay of \"" + rule.match + "\"", rule.value);
  return std::make_shared<WeightDecay>(strength, std::move(rules));
}

}  // namespace osculant
