#include "osculant/data/idx.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/text.h"
#include "osculant/io/descriptor.h"

namespace osculant {
namespace {

constexpr int most_dimensions = 16;

static_assert(std::endian::native == std::endian::little, "bytes are swapped from big endian");

struct CloseGzip {
  void operator()(gzFile file) const { ::gzclose_r(file); }
};

// Plain and compressed files alike, as zlib reads them.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {
    Descriptor::open_for_reading(path);  // says why when it cannot be opened
    file_.reset(::gzopen(path.c_str(), "rb"));
    if (!file_) bad("cannot be opened");
    ::gzbuffer(file_.get(), 1 << 18);
  }

  const std::string& path() const { return path_; }
  [[noreturn]] void bad(const std::string& what) const { fail_data(fmt::format("{}: {}", path_, what)); }

  // Fewer than asked only at the end of the file.
  size_t read_some(void* data, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
      auto chunk = static_cast<unsigned>(std::min<size_t>(bytes - done, 1 << 28));
      int got = ::gzread(file_.get(), static_cast<char*>(data) + done, chunk);
      if (got < 0) bad(fmt::format("is damaged: {}", message()));
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  // A stream cut short or with a wrong checksum shows only when its end is read.
  void finish() {
    char extra;
    if (read_some(&extra, 1) != 0) bad("has more bytes than its dimensions say");
    int error = Z_OK;
    ::gzerror(file_.get(), &error);
    if (error != Z_OK && error != Z_STREAM_END) bad(fmt::format("is damaged: {}", message()));
  }

 private:
  std::string message() {
    int error = Z_OK;
    const char* text = ::gzerror(file_.get(), &error);
    return error == Z_BUF_ERROR ? "its compressed stream is cut short" : text;
  }

  std::string path_;
  std::unique_ptr<std::remove_pointer_t<gzFile>, CloseGzip> file_;
};

uint32_t big_endian(const unsigned char* b) {
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | uint32_t{b[3]};
}

at::ScalarType type_of(unsigned char code, const Reader& reader) {
  switch (code) {
    case 0x08:
      return at::kByte;
    case 0x09:
      return at::kChar;
    case 0x0B:
      return at::kShort;
    case 0x0C:
      return at::kInt;
    case 0x0D:
      return at::kFloat;
    case 0x0E:
      return at::kDouble;
    default:
      reader.bad(fmt::format("its element type 0x{:02X} is none of IDX", code));
  }
}

struct Header {
  at::ScalarType type;
  std::vector<int64_t> shape;
  size_t bytes;  // of the elements
};

Header read_header(Reader& reader) {
  std::array<unsigned char, 4> magic;
  if (reader.read_some(magic.data(), 4) != 4) reader.bad("is cut short: an IDX file begins with 4 bytes");
  if (magic[0] != 0 || magic[1] != 0)
    reader.bad(fmt::format("is no IDX file: begins with {:02X} {:02X} instead of 00 00", magic[0], magic[1]));
  Header header{type_of(magic[2], reader), {}, 0};
  if (magic[3] > most_dimensions)
    reader.bad(fmt::format("has {} dimensions, at most {} can be", magic[3], most_dimensions));
  std::vector<unsigned char> sizes(size_t{4} * magic[3]);
  if (reader.read_some(sizes.data(), sizes.size()) != sizes.size())
    reader.bad(fmt::format("is cut short in its {} dimensions", magic[3]));
  uint64_t bytes = c10::elementSize(header.type);
  bool overflow = false;
  for (size_t d = 0; d < magic[3]; ++d) {
    header.shape.push_back(big_endian(&sizes[4 * d]));
    overflow |= __builtin_mul_overflow(bytes, uint64_t(std::max<int64_t>(header.shape.back(), 1)), &bytes);
  }
  if (overflow || bytes > uint64_t(std::numeric_limits<int64_t>::max()))
    reader.bad(fmt::format("its dimensions [{}] overflow", fmt::join(header.shape, ", ")));
  header.bytes = std::count(header.shape.begin(), header.shape.end(), 0) > 0 ? 0 : bytes;
  return header;
}

void swap_bytes(unsigned char* data, size_t bytes, size_t element) {
  if (element > 1)
    for (size_t i = 0; i < bytes; i += element) std::reverse(data + i, data + i + element);
}

// Grows with what is there: dimensions that lie do not make it allocate. A packed file can hold a thousand
// times its size, so that it is stopped where memory would end.
std::vector<unsigned char> read_elements(Reader& reader, const Header& header) {
  std::vector<unsigned char> data;
  const auto available = static_cast<uint64_t>(available_memory());
  for (size_t chunk = size_t{1} << 20; data.size() < header.bytes; chunk *= 2) {
    size_t have = data.size(), want = std::min(chunk, header.bytes - have);
    if (have + want > available / 2)  // growing keeps the old beside the new
      fail(ErrorKind::memory,
           fmt::format("{}: dimensions [{}] take {}, and {} of memory is free", reader.path(),
                       fmt::join(header.shape, ", "), format_bytes(static_cast<int64_t>(header.bytes)),
                       format_bytes(static_cast<int64_t>(available))));
    data.resize(have + want);
    size_t got = reader.read_some(data.data() + have, want);
    if (got < want)
      reader.bad(fmt::format("is cut short: dimensions [{}] take {} bytes, it has {}",
                             fmt::join(header.shape, ", "), header.bytes, have + got));
  }
  return data;
}

}  // namespace

Tensor load_idx(const std::string& path) {
  Reader reader(path);
  auto header = read_header(reader);
  auto data = std::make_shared<std::vector<unsigned char>>(read_elements(reader, header));
  reader.finish();
  swap_bytes(data->data(), data->size(), c10::elementSize(header.type));
  auto options = at::TensorOptions().dtype(header.type);
  if (data->empty()) return at::empty(header.shape, options);
  return at::from_blob(
      data->data(), header.shape, [data](void*) {}, options);
}

}  // namespace osculant
