#include "osculant/io/record_tensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "osculant/base/error.h"

namespace osculant {
namespace {

// Strides of 0 repeat entries, and many placements may lie on one record, so that a small file can stand for
// large tensors: this many entries a tensor, and this many times the file's bytes in all.
constexpr int64_t most_expanded = int64_t{1} << 22;
constexpr int64_t most_times = 16;

constexpr size_t most_dimensions = 64;  // of libtorch's kernels

// Elements of storage that the placement reaches: offset + sum (size - 1) stride + 1. nullopt on overflow.
std::optional<int64_t> extent(const Placement& p) {
  int64_t last = p.offset;
  for (size_t d = 0; d < p.sizes.size(); ++d) {
    if (p.sizes[d] == 0) return p.offset;
    int64_t reach = 0;
    if (__builtin_mul_overflow(p.sizes[d] - 1, p.strides[d], &reach) ||
        __builtin_add_overflow(last, reach, &last))
      return std::nullopt;
  }
  int64_t extent = 0;
  return __builtin_add_overflow(last, 1, &extent) ? std::nullopt : std::optional(extent);
}

// Number of entries; nullopt on overflow, that of the sizes beside a 0 included, as libtorch counts strides
// of them too.
std::optional<int64_t> entries(const Placement& p) {
  int64_t n = 1;
  for (int64_t size : p.sizes)
    if (__builtin_mul_overflow(n, std::max<int64_t>(size, 1), &n)) return std::nullopt;
  return std::count(p.sizes.begin(), p.sizes.end(), 0) > 0 ? 0 : n;
}

void check_numbers(const Placement& p, const std::string& where) {
  if (p.strides.size() != p.sizes.size())
    fail_data(fmt::format("{}: {} sizes but {} strides", where, p.sizes.size(), p.strides.size()));
  if (p.sizes.size() > most_dimensions)
    fail_data(
        fmt::format("{}: has {} dimensions, at most {} can be", where, p.sizes.size(), most_dimensions));
  if (p.offset < 0) fail_data(fmt::format("{}: storage_offset {} is negative", where, p.offset));
  for (const auto* numbers : {&p.sizes, &p.strides})
    for (int64_t number : *numbers)
      if (number < 0)
        fail_data(
            fmt::format("{}.{}: {} is negative", where, numbers == &p.sizes ? "sizes" : "strides", number));
}

void check_flags(const at::Tensor& whole, const std::string& where) {
  const auto* byte = static_cast<const unsigned char*>(whole.const_data_ptr());
  const auto* end = byte + whole.nbytes();
  const auto* wrong = std::find_if(byte, end, [](unsigned char b) { return b > 1; });
  if (wrong != end)
    fail_data(fmt::format("{}: element {} is {}, a bool must be 0 or 1", where, wrong - byte, *wrong));
}

}  // namespace

at::Tensor RecordTensors::tensor(const std::string& record, const Placement& placement,
                                 const std::string& where) {
  auto [at, fresh] = known_.try_emplace({record, placement});
  if (fresh) at->second = read(record, placement, where);
  return at->second;
}

// Tensors of one record follow each other, but for files made to have everything read again and again.
at::Tensor RecordTensors::bytes_of(const std::string& record, const std::string& where) {
  if (last_.defined() && record == last_record_) return last_;
  auto size = static_cast<int64_t>(archive_.size(record));
  read_ += size;
  if (read_ > most_times * static_cast<int64_t>(archive_.bytes()) + most_expanded)
    fail_data(fmt::format(
        "{}: the records up to this one take {} bytes to read, more than {} times the {} of the file", where,
        read_, most_times, archive_.bytes()));
  last_ = at::empty({size}, at::kByte);
  last_record_ = record;
  archive_.read(record, last_.data_ptr());
  return last_;
}

at::Tensor RecordTensors::read(const std::string& record, const Placement& p, const std::string& where) {
  if (!archive_.has(record)) fail_data(fmt::format("{}: its record {} is missing", where, record));
  check_numbers(p, where);
  const auto element = static_cast<int64_t>(c10::elementSize(p.dtype));
  const int64_t available = static_cast<int64_t>(archive_.size(record)) / element;
  auto needed = extent(p), count = entries(p);
  if (!needed || !count || *needed > available || *count > std::max(available, most_expanded))
    fail_data(fmt::format(
        "{}: sizes [{}], strides [{}] and offset {} reach beyond the {} elements of its record {}", where,
        fmt::join(p.sizes, ", "), fmt::join(p.strides, ", "), p.offset, available, record));
  given_ += *count * element;
  if (given_ > most_times * static_cast<int64_t>(archive_.bytes()) + most_expanded * element)
    fail_data(
        fmt::format("{}: the tensors up to this one take {} bytes, more than {} times the {} of the file",
                    where, given_, most_times, archive_.bytes()));
  if (*count == 0) return at::empty(p.sizes, p.dtype);
  auto stored = p.dtype == at::kBool ? at::kByte : p.dtype;
  auto whole = bytes_of(record, where).narrow(0, 0, available * element).view(stored);
  auto values = whole.as_strided(p.sizes, p.strides, p.offset).clone(at::MemoryFormat::Contiguous);
  if (p.dtype != at::kBool) return values;
  check_flags(values, where);
  return values.view(at::kBool);
}

}  // namespace osculant
