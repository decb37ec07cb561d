// The functions behind fmt::format, compiled once for the whole library: header-only, each file that formats
// a number pays 2.4 s for them. What fmt's own format.cc instantiates and this library can reach.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE

template FMT_API std::locale locale_ref::get<std::locale>() const;

namespace detail {

template FMT_API dragonbox::decimal_fp<float> dragonbox::to_decimal(float) noexcept;
template FMT_API dragonbox::decimal_fp<double> dragonbox::to_decimal(double) noexcept;
template FMT_API thousands_sep_result<char> thousands_sep_impl(locale_ref);
template FMT_API char decimal_point_impl(locale_ref);
template FMT_API void buffer<char>::append(const char*, const char*);

}  // namespace detail

FMT_END_NAMESPACE
