#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace osculant::testing_zip {

// A record of an archive that a test writes, with whatever its two headers are to claim.
struct Record {
  std::string name, content;
  uint16_t method = 0, flags = 0;
  uint32_t claimed = UINT32_MAX;  // bytes when read; UINT32_MAX: as many as there are
  uint32_t at = UINT32_MAX;       // where the directory says that it is
  uint32_t checksum = 0;          // added to the right one
  std::string local_name = {};    // when it differs
};

template <class Number>
void append(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

inline std::string deflated(const std::string& content) {
  std::string packed(compressBound(content.size()) + 16, '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string zip_of(const std::vector<Record>& records) {
  std::string bytes, directory;
  for (const auto& record : records) {
    auto begin = static_cast<uint32_t>(bytes.size());
    std::string stored = record.method == 8 ? deflated(record.content) : record.content;
    auto size = record.claimed == UINT32_MAX ? static_cast<uint32_t>(record.content.size()) : record.claimed;
    auto checksum = static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(record.content.data()),
                                                  record.content.size())) +
                    record.checksum;
    const std::string& local = record.local_name.empty() ? record.name : record.local_name;
    auto common = [&](std::string& to, const std::string& name) {
      append<uint16_t>(to, 20);
      append(to, record.flags);
      append(to, record.method);
      append<uint32_t>(to, 0);  // time and date
      append(to, checksum);
      append(to, static_cast<uint32_t>(stored.size()));
      append(to, size);
      append(to, static_cast<uint16_t>(name.size()));
      append<uint16_t>(to, 0);  // extra field
    };
    append<uint32_t>(bytes, 0x04034b50);
    common(bytes, local);
    bytes += local + stored;
    append<uint32_t>(directory, 0x02014b50);
    append<uint16_t>(directory, 20);
    common(directory, record.name);
    directory.append(10, '\0');  // comment, disk, attributes
    append(directory, record.at == UINT32_MAX ? begin : record.at);
    directory += record.name;
  }
  auto begin = static_cast<uint32_t>(bytes.size());
  bytes += directory;
  append<uint32_t>(bytes, 0x06054b50);
  append<uint32_t>(bytes, 0);
  append(bytes, static_cast<uint16_t>(records.size()));
  append(bytes, static_cast<uint16_t>(records.size()));
  append(bytes, static_cast<uint32_t>(directory.size()));
  append(bytes, begin);
  append<uint16_t>(bytes, 0);
  return bytes;
}

inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace osculant::testing_zip
