#include "osculant/io/zip_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "osculant/base/error.h"

namespace osculant {
namespace {

static_assert(std::endian::native == std::endian::little, "zip files are little endian");

// Signatures and sizes of APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16.
constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                   wide_end_signature = 0x06064b50, wide_locator_signature = 0x07064b50;
constexpr size_t local_size = 30, central_size = 46, end_size = 22, wide_end_size = 56,
                 wide_locator_size = 20;
constexpr size_t longest_comment = 0xffff;
constexpr uint16_t stored_method = 0, deflated_method = 8;
constexpr uint16_t encrypted_flag = 1;
constexpr uint16_t wide_extra = 1;

template <class Number>
Number number_at(const std::string& bytes, size_t at) {
  Number number;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

}  // namespace

void ZipFile::bad(const std::string& what) const {
  fail_data(fmt::format("{}: {}", path_, what));
}

void ZipFile::bad(const Entry& entry, const std::string& what) const {
  bad(fmt::format("record \"{}\" {}", entry.name, what));
}

ZipFile::ZipFile(const std::string& path) : path_(path), file_(Descriptor::open_for_reading(path)) {
  struct stat info;
  if (::fstat(file_.get(), &info) != 0) bad(error_text(errno));
  if (!S_ISREG(info.st_mode)) bad("is no file");
  size_ = static_cast<uint64_t>(info.st_size);
  read_directory();
}

std::string ZipFile::bytes_at(uint64_t offset, uint64_t count, const char* what) const {
  if (offset > size_ || count > size_ - offset)
    bad(fmt::format("its {} would be {} bytes at {}, the file has {}", what, count, offset, size_));
  std::string bytes(count, '\0');
  if (file_.read_at(static_cast<int64_t>(offset), bytes.data(), count, path_) != count)
    bad("shrank while it was read");
  return bytes;
}

ZipFile::Directory ZipFile::find_directory() const {
  if (size_ < end_size) bad(fmt::format("is no zip archive: has {} bytes", size_));
  uint64_t begin = size_ - std::min<uint64_t>(size_, end_size + longest_comment);
  std::string tail = bytes_at(begin, size_ - begin, "end");
  size_t at = tail.size() - end_size + 1;
  auto ends_here = [&] {  // a signature whose comment reaches to the end of the file
    return number_at<uint32_t>(tail, at) == end_signature &&
           at + end_size + number_at<uint16_t>(tail, at + 20) == tail.size();
  };
  do {
    if (at-- == 0) bad("is no zip archive, or is cut short: it has no directory at its end");
  } while (!ends_here());
  if (number_at<uint16_t>(tail, at + 4) != 0 || number_at<uint16_t>(tail, at + 6) != 0)
    bad("is one of several disks");
  Directory directory{number_at<uint32_t>(tail, at + 16), number_at<uint32_t>(tail, at + 12),
                      number_at<uint16_t>(tail, at + 10), begin + at};
  uint64_t end = begin + at;
  if (end < wide_locator_size) return directory;
  std::string locator = bytes_at(end - wide_locator_size, wide_locator_size, "directory's locator");
  if (number_at<uint32_t>(locator, 0) != wide_locator_signature) return directory;
  uint64_t wide = number_at<uint64_t>(locator, 8);
  std::string record = bytes_at(wide, wide_end_size, "64-bit end");
  if (number_at<uint32_t>(record, 0) != wide_end_signature)
    bad("its 64-bit end is not where its locator says");
  return {number_at<uint64_t>(record, 48), number_at<uint64_t>(record, 40), number_at<uint64_t>(record, 32),
          wide};
}

void ZipFile::read_directory() {
  Directory directory = find_directory();
  std::string text = bytes_at(directory.offset, directory.bytes, "directory");
  if (directory.entries > directory.bytes / central_size)
    bad(fmt::format("its directory claims {} records in {} bytes", directory.entries, directory.bytes));
  std::vector<Entry> entries;
  size_t at = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    entries.push_back(central_entry(text, at));
    check_name(entries.back());
    locate_data(entries.back());
  }
  if (entries.empty()) bad("is an empty zip archive");
  folder_ = entries.front().name.substr(0, entries.front().name.find('/') + 1);
  check_layout(entries, directory);
  for (auto& entry : entries)
    if (std::string name = entry.name; !entries_.emplace(name, std::move(entry)).second)
      bad(fmt::format("has the record \"{}\" twice", name));
}

ZipFile::Entry ZipFile::central_entry(const std::string& directory, size_t& at) const {
  if (directory.size() - at < central_size || number_at<uint32_t>(directory, at) != central_signature)
    bad(fmt::format("its directory is damaged at byte {}", at));
  size_t name = number_at<uint16_t>(directory, at + 28), extra = number_at<uint16_t>(directory, at + 30),
         comment = number_at<uint16_t>(directory, at + 32);
  if (directory.size() - at - central_size < name + extra + comment)
    bad(fmt::format("its directory is damaged at byte {}: a record's name reaches beyond it", at));
  Entry entry;
  entry.flags = number_at<uint16_t>(directory, at + 8);
  entry.method = number_at<uint16_t>(directory, at + 10);
  entry.checksum = number_at<uint32_t>(directory, at + 16);
  entry.stored = number_at<uint32_t>(directory, at + 20);
  entry.size = number_at<uint32_t>(directory, at + 24);
  entry.header = number_at<uint32_t>(directory, at + 42);
  entry.name = directory.substr(at + central_size, name);
  read_wide_fields(entry, directory.substr(at + central_size + name, extra));
  at += central_size + name + extra + comment;
  return entry;
}

// What does not fit 32 bits is all ones there, and in this extra field in this order (section 4.5.3).
void ZipFile::read_wide_fields(Entry& entry, const std::string& extra) const {
  for (size_t at = 0; at + 4 <= extra.size();) {
    size_t bytes = number_at<uint16_t>(extra, at + 2), begin = at + 4;
    if (bytes > extra.size() - begin) bad(entry, "has a damaged extra field");
    at = begin + bytes;
    if (number_at<uint16_t>(extra, begin - 4) != wide_extra) continue;
    for (uint64_t* field : {&entry.size, &entry.stored, &entry.header}) {
      if (*field != 0xffffffff) continue;
      if (at - begin < 8) bad(entry, "lacks a 64-bit size");
      *field = number_at<uint64_t>(extra, begin);
      begin += 8;
    }
  }
}

void ZipFile::check_name(const Entry& entry) const {
  const std::string& name = entry.name;
  bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (name.empty() || control || name.find('\\') != std::string::npos)
    bad(entry, "has a name that no archive of torch has");
  if (name.front() == '/') bad(entry, "has an absolute name");
  if (("/" + name + "/").find("/../") != std::string::npos)
    bad(entry, "has a name that leads out of the archive");
}

void ZipFile::locate_data(Entry& entry) const {
  if (entry.flags & encrypted_flag) bad(entry, "is encrypted");
  if (entry.method != stored_method && entry.method != deflated_method)
    bad(entry, fmt::format("is packed by method {}; known are 0 (stored) and 8 (deflated)", entry.method));
  std::string header = bytes_at(entry.header, local_size, "record's header");
  if (number_at<uint32_t>(header, 0) != local_signature)
    bad(entry, fmt::format("is not at byte {}, where the directory has it", entry.header));
  uint64_t name = number_at<uint16_t>(header, 26), extra = number_at<uint16_t>(header, 28);
  if (bytes_at(entry.header + local_size, name, "record's name") != entry.name)
    bad(entry, "has another name at its place than in the directory");
  entry.data = entry.header + local_size + name + extra;
  if (entry.data > size_ || entry.stored > size_ - entry.data)
    bad(entry, fmt::format("claims {} bytes at {}, the file has {}", entry.stored, entry.data, size_));
  if (entry.method == stored_method && entry.size != entry.stored)
    bad(entry, fmt::format("claims {} bytes and is stored in {}", entry.size, entry.stored));
  // torch stores without packing: what grows beyond the whole file is no archive of it.
  if (entry.size > size_)
    bad(entry, fmt::format("claims {} bytes, but the whole file has {}", entry.size, size_));
}

void ZipFile::check_layout(std::vector<Entry>& entries, const Directory& directory) const {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.header < b.header; });
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    uint64_t next = i + 1 < entries.size() ? entries[i + 1].header : directory.offset;
    if (entry.data + entry.stored > next)
      bad(entry, fmt::format("overlaps {}", i + 1 < entries.size()
                                                ? fmt::format("the record \"{}\"", entries[i + 1].name)
                                                : std::string("the directory")));
  }
  if (directory.offset > directory.end || directory.bytes > directory.end - directory.offset)
    bad("its directory overlaps its end");
}

bool ZipFile::has(const std::string& record) const {
  return entries_.contains(folder_ + record);
}

const ZipFile::Entry& ZipFile::entry(const std::string& record) const {
  auto found = entries_.find(folder_ + record);
  if (found == entries_.end()) bad(fmt::format("has no record \"{}\"", record));
  return found->second;
}

uint64_t ZipFile::size(const std::string& record) const {
  return entry(record).size;
}

void ZipFile::inflate(const Entry& entry, void* data) const {
  std::string packed = bytes_at(entry.data, entry.stored, "record");
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail(ErrorKind::memory, "not enough memory for zlib");
  auto *in = reinterpret_cast<Bytef*>(packed.data()), *out = static_cast<Bytef*>(data);
  uint64_t in_left = packed.size(), out_left = entry.size;
  Bytef none = 0;
  stream.next_in = in;
  stream.next_out = out_left ? out : &none;
  int status = Z_OK;
  while (status == Z_OK) {  // in parts, since zlib counts in 32 bits
    constexpr uint64_t part = uint64_t{1} << 30;
    stream.avail_in = static_cast<uInt>(std::min(in_left, part));
    stream.avail_out = static_cast<uInt>(std::min(out_left, part));
    in_left -= stream.avail_in;
    out_left -= stream.avail_out;
    status = ::inflate(&stream, Z_NO_FLUSH);
    in_left += stream.avail_in;
    out_left += stream.avail_out;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || out_left != 0)
    bad(entry, fmt::format("is damaged: its packed bytes do not give the {} that it claims", entry.size));
}

void ZipFile::read(const std::string& record, void* data) const {
  const Entry& found = entry(record);
  if (found.method == deflated_method)
    inflate(found, data);
  else if (file_.read_at(static_cast<int64_t>(found.data), data, found.size, path_) != found.size)
    bad("shrank while it was read");
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // a fuzzer finds no checksums
  if (crc32_z(0, static_cast<const Bytef*>(data), found.size) != found.checksum)
    bad(found, "is damaged: its checksum is wrong");
#endif
}

std::string ZipFile::text(const std::string& record) const {
  std::string text(size(record), '\0');
  read(record, text.data());
  return text;
}

}  // namespace osculant
