#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/low_rank.h"

namespace osculant {

std::string_view to_string(LowRankMethod method) {
  switch (method) {
    case LowRankMethod::svd:
      return "svd";
    case LowRankMethod::qr:
      return "qr";
    case LowRankMethod::randomized_svd:
      return "randomized_svd";
    case LowRankMethod::randomized_qr:
      return "randomized_qr";
    case LowRankMethod::nystrom:
      return "nystrom";
    case LowRankMethod::indefinite_nystrom:
      return "indefinite_nystrom";
    case LowRankMethod::lanczos:
      return "lanczos";
  }
  return "?";
}

std::string_view to_string(LowRankStop stop) {
  switch (stop) {
    case LowRankStop::done:
      return "done";
    case LowRankStop::rank:
      return "rank";
    case LowRankStop::indefinite:
      return "indefinite";
    case LowRankStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void LowRankOptions::check() const {
  require_at_least("count", static_cast<double>(count), 1);
  require_non_negative("tolerance", tolerance);
  require_non_negative("oversampling", static_cast<double>(oversampling));
  require_non_negative("power_passes", static_cast<double>(power_passes));
  require_at_least("block", static_cast<double>(block), 1);
  require_positive("lanczos_tolerance", lanczos_tolerance);
  require_positive("negative_tolerance", negative_tolerance);
  require_non_negative("negative_products", static_cast<double>(negative_products));
  // Below these the interval of the error is not sure to cover (low_rank_error.h).
  if (error_probes != 0) require_at_least("error_probes", static_cast<double>(error_probes), 10);
  if (!(confidence >= 0.5 && confidence < 1))
    fail_option("confidence", fmt::format("{}", confidence), "at least 0.5 and less than 1");
  bool by_error =
      method == LowRankMethod::svd || method == LowRankMethod::qr || method == LowRankMethod::randomized_qr;
  if (tolerance > 0 && !by_error)
    fail_option(
        "tolerance", fmt::format("{}", tolerance),
        fmt::format("0 with method {}, whose rank is `count`: svd, qr and randomized_qr choose it by the "
                    "error",
                    to_string(method)));
}

std::string LowRank::report() const {
  if (stop == LowRankStop::indefinite || stop == LowRankStop::non_finite)
    return fmt::format("no low-rank approximation by {}: {} ({} products)\n", to_string(method), message,
                       format_count(products));
  std::string how = error_exact ? "exact to rounding" : fmt::format("{:g} % interval", 100 * confidence);
  return fmt::format("rank {} of {} by {}: norm_F of what is left {} in [{}, {}] ({}); {} products; {}\n",
                     rank(), format_count(size), to_string(method), format_number(error),
                     format_number(error_low), format_number(error_high), how, format_count(products),
                     message);
}

}  // namespace osculant
