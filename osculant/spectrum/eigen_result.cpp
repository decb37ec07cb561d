#include <fmt/format.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/eigenpairs.h"

namespace osculant {
namespace {

std::vector<Eigenvalue> slice(const EigenResult& result, int64_t begin, int64_t end) {
  std::vector<Eigenvalue> pairs;
  for (int64_t i = begin; i < end; ++i)
    pairs.push_back({result.values[i].item<double>(), result.residuals[i].item<double>()});
  return pairs;
}

std::string described(const EigenResult& result) {
  int64_t k = result.values.numel();
  if (result.target == EigenTarget::both)
    return fmt::format("{} largest and {} smallest eigenvalues", result.largest_count,
                       k - result.largest_count);
  return fmt::format("{} {} eigenvalue{}", k, to_string(result.target), k == 1 ? "" : "s");
}

std::string probability(double p) {
  return p == 0 ? "0" : fmt::format("{:.1g}", p);
}

std::string table(const EigenResult& result) {
  TextTable table({"", "eigenvalue", "within"});
  for (int64_t i = 0; i < result.values.numel(); ++i) {
    bool lower = result.target == EigenTarget::both && i >= result.largest_count;
    int64_t rank = lower ? i - result.largest_count : i;
    table.add({fmt::format("{}{}",
                           lower                                ? "smallest "
                           : result.target == EigenTarget::both ? "largest "
                                                                : "",
                           rank + 1),
               format_number(result.values[i].item<double>()),
               format_number(result.residuals[i].item<double>())});
  }
  return table.str();
}

std::string pairing_words(const EigenResult& result) {
  std::string proved = result.pairing_failure_probability > 0
                           ? fmt::format("Measured (wrong with probability <= {})",
                                         probability(result.pairing_failure_probability))
                           : "Proved";
  return fmt::format(
      "{}: they pair one to one with true eigenvalues, each within {} ({} of the largest), rounding of {} a "
      "product included.\n",
      proved, format_number(result.pairing_bound),
      format_number(result.scale > 0 ? result.pairing_bound / result.scale : 0), format_number(result.noise));
}

std::string missed_words(const EigenResult& result) {
  std::string margin = format_number(result.missed_margin());
  if (result.stop == EigenStop::exact) return "None can be missing: the matrix was formed.\n";
  std::string text;
  if (result.checked && result.missed_failure_probability > 0.5) {
    text = fmt::format(
        "Not proved: {} steps from a fresh random vector found none missing, too few to give a "
        "probability that none beyond these by more than {} is.\n",
        result.check_steps, margin);
  } else if (result.checked) {
    text = fmt::format(
        "Probable: none beyond these by more than {} is missing (probability of error <= {}); {} steps "
        "from a fresh random vector found none.\n",
        margin, probability(result.missed_failure_probability), result.check_steps);
  } else {
    text = fmt::format(
        "Not searched for missed ones; the outermost is the end of the spectrum to {} with probability "
        "of error <= {}.\n",
        format_number(result.tolerance * result.scale), probability(result.extreme_failure_probability));
  }
  if (result.found_by_check > 0)
    text += fmt::format("An earlier search found {} that the first run had missed; included.\n",
                        result.found_by_check);
  return text;
}

}  // namespace

double EigenResult::miss_probability() const {
  return stop == EigenStop::exact ? 0 : std::max(extreme_failure_probability, missed_failure_probability);
}

std::string_view to_string(EigenTarget target) {
  switch (target) {
    case EigenTarget::largest:
      return "largest";
    case EigenTarget::smallest:
      return "smallest";
    case EigenTarget::dominant:
      return "dominant";
    case EigenTarget::both:
      return "both";
  }
  return "?";
}

std::string_view to_string(EigenStop stop) {
  switch (stop) {
    case EigenStop::converged:
      return "converged";
    case EigenStop::exact:
      return "exact";
    case EigenStop::noise:
      return "noise";
    case EigenStop::products:
      return "products";
    case EigenStop::interrupted:
      return "interrupted";
    case EigenStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void EigenOptions::check() const {
  require_at_least("count", static_cast<double>(count), 1);
  require_positive("tolerance", tolerance);
  require_non_negative("max_products", static_cast<double>(max_products));
  require_non_negative("krylov_dimension", static_cast<double>(krylov_dimension));
  require_positive("basis_bytes", static_cast<double>(basis_bytes));
  require_non_negative("dense_limit", static_cast<double>(dense_limit));
  require_at_least("block", static_cast<double>(block), 1);
  require_between("failure_probability", failure_probability, 0, 1);
  require_at_least("check_products", static_cast<double>(check_products), -1);
  require_non_negative("noise_floor", noise_floor);
}

std::vector<Eigenvalue> EigenResult::largest() const {
  return slice(*this, 0, target == EigenTarget::smallest ? 0 : largest_count);
}

std::vector<Eigenvalue> EigenResult::smallest() const {
  return slice(*this, largest_count, values.numel());
}

std::string EigenResult::report() const {
  return fmt::format("{} of {} (n = {})\n{}{}{}{} products, {} restarts, basis of {}. {}: {}.\n",
                     described(*this), name, format_count(size), table(*this), pairing_words(*this),
                     missed_words(*this), format_count(products), restarts, krylov_dimension, to_string(stop),
                     message);
}

std::string EigenResult::brief() const {
  std::string range = values.numel() == 0 ? "none"
                                          : fmt::format("{} ... {}", format_number(values[0].item<double>()),
                                                        format_number(values[-1].item<double>()));
  return fmt::format("{} of {}: {}, each within {}; {} products, {}", described(*this), name, range,
                     format_number(pairing_bound), format_count(products), to_string(stop));
}

}  // namespace osculant
