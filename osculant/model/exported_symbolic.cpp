#include "osculant/model/exported_symbolic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "osculant/base/error.h"

namespace osculant::exported {
namespace {

using c10::IValue;
using Arguments = std::vector<IValue>;

const IValue& argument(const Arguments& a, size_t i) {
  if (i >= a.size()) fail_data(fmt::format("takes more than {} arguments", a.size()));
  return a[i];
}

bool whole(const IValue& v) {
  return v.isInt() || v.isBool();
}
int64_t integer(const IValue& v) {
  return v.isBool() ? int64_t{v.toBool()} : v.toInt();
}
double real(const IValue& v) {
  return v.isDouble() ? v.toDouble() : static_cast<double>(integer(v));
}
bool truth(const IValue& v) {
  return v.isDouble() ? v.toDouble() != 0 : integer(v) != 0;
}

[[noreturn]] void overflow() {
  fail_data("a size leaves the range of 64 bits");
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) fail_data("division of a size by zero");
  if (a == INT64_MIN && b == -1) overflow();
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return result;
}

int64_t truncated(double x) {
  if (!(std::abs(x) < 9.2e18)) overflow();
  return static_cast<int64_t>(x);
}

// a (whole) b, or a (real) b when either is a float.
template <class Whole, class Real>
IValue arithmetic(const Arguments& a, Whole on_integers, Real on_reals) {
  const IValue &x = argument(a, 0), &y = argument(a, 1);
  if (whole(x) && whole(y)) return on_integers(integer(x), integer(y));
  return on_reals(real(x), real(y));
}

#define OSCULANT_CHECKED(builtin)           \
  [](int64_t x, int64_t y) {                \
    int64_t result = 0;                     \
    if (builtin(x, y, &result)) overflow(); \
    return result;                          \
  }

IValue add(const Arguments& a) {
  return arithmetic(a, OSCULANT_CHECKED(__builtin_add_overflow), [](double x, double y) { return x + y; });
}
IValue sub(const Arguments& a) {
  return arithmetic(a, OSCULANT_CHECKED(__builtin_sub_overflow), [](double x, double y) { return x - y; });
}
IValue mul(const Arguments& a) {
  return arithmetic(a, OSCULANT_CHECKED(__builtin_mul_overflow), [](double x, double y) { return x * y; });
}
#undef OSCULANT_CHECKED

IValue floordiv(const Arguments& a) {
  return arithmetic(a, floor_divide, [](double x, double y) { return std::floor(x / y); });
}
IValue mod(const Arguments& a) {
  return arithmetic(
      a,
      [](int64_t x, int64_t y) {
        auto quotient = floor_divide(x, y);
        return x - quotient * y;
      },
      [](double x, double y) { return x - std::floor(x / y) * y; });
}
IValue truediv(const Arguments& a) {
  double divisor = real(argument(a, 1));
  if (divisor == 0) fail_data("division of a size by zero");
  return real(argument(a, 0)) / divisor;
}
IValue pow(const Arguments& a) {
  const IValue &x = argument(a, 0), &y = argument(a, 1);
  if (whole(x) && whole(y) && integer(y) >= 0) return power(integer(x), integer(y));
  return std::pow(real(x), real(y));
}
IValue shift_left(const Arguments& a) {
  return mul({argument(a, 0), power(2, integer(argument(a, 1)))});
}
IValue shift_right(const Arguments& a) {
  return floor_divide(integer(argument(a, 0)), power(2, integer(argument(a, 1))));
}
IValue negative(const Arguments& a) {
  return sub({IValue(int64_t{0}), argument(a, 0)});
}
IValue positive(const Arguments& a) {
  return argument(a, 0);
}

template <class Compare>
IValue compare(const Arguments& a) {
  return arithmetic(
      a, [](int64_t x, int64_t y) { return Compare()(x, y); },
      [](double x, double y) { return Compare()(x, y); });
}

// Python's & and | on booleans, which is what guards use.
IValue both(const Arguments& a) {
  return truth(argument(a, 0)) && truth(argument(a, 1));
}
IValue either(const Arguments& a) {
  return truth(argument(a, 0)) || truth(argument(a, 1));
}
IValue negation(const Arguments& a) {
  return !truth(argument(a, 0));
}
IValue if_then_else(const Arguments& a) {
  return truth(argument(a, 0)) ? argument(a, 1) : argument(a, 2);
}

IValue largest(const Arguments& a) {
  return arithmetic(
      a, [](int64_t x, int64_t y) { return std::max(x, y); },
      [](double x, double y) { return std::max(x, y); });
}
IValue smallest(const Arguments& a) {
  return arithmetic(
      a, [](int64_t x, int64_t y) { return std::min(x, y); },
      [](double x, double y) { return std::min(x, y); });
}
IValue to_integer(const Arguments& a) {
  return truncated(real(argument(a, 0)));
}
IValue to_real(const Arguments& a) {
  return real(argument(a, 0));
}
IValue square_root(const Arguments& a) {
  return std::sqrt(real(argument(a, 0)));
}

}  // namespace

SymbolicFunction symbolic_function(const std::string& target) {
  static const std::unordered_map<std::string, SymbolicFunction> functions{
      {"_operator.add", add},
      {"_operator.sub", sub},
      {"_operator.mul", mul},
      {"_operator.floordiv", floordiv},
      {"_operator.truediv", truediv},
      {"_operator.mod", mod},
      {"_operator.pow", pow},
      {"_operator.neg", negative},
      {"_operator.pos", positive},
      {"_operator.lshift", shift_left},
      {"_operator.rshift", shift_right},
      {"_operator.eq", compare<std::equal_to<>>},
      {"_operator.ne", compare<std::not_equal_to<>>},
      {"_operator.lt", compare<std::less<>>},
      {"_operator.le", compare<std::less_equal<>>},
      {"_operator.gt", compare<std::greater<>>},
      {"_operator.ge", compare<std::greater_equal<>>},
      {"_operator.and_", both},
      {"_operator.or_", either},
      {"torch.sym_not", negation},
      {"torch.sym_ite", if_then_else},
      {"torch.sym_max", largest},
      {"torch.sym_min", smallest},
      {"torch.sym_int", to_integer},
      {"torch.sym_float", to_real},
      {"torch.sym_sqrt", square_root},
      {"math.trunc", to_integer},
  };
  auto at = functions.find(target);
  return at == functions.end() ? nullptr : at->second;
}

}  // namespace osculant::exported
