#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "osculant/io/descriptor.h"

namespace osculant {

// Reads the zip archives that torch writes (torch.save, torch.export.save): one folder that holds records,
// stored or deflated. Nothing is unpacked to the disk. An archive whose description does not agree with its
// bytes is refused when it is opened: names that are absolute, lead upwards or come twice, records that
// overlap each other or reach beyond the file, encryption, several disks. A record's checksum is verified
// when it is read.
//
// Format: PKWARE, APPNOTE.TXT 6.3.10, with its 64-bit extensions. Every failure is Error(data) that begins
// with the path.
class ZipFile {
 public:
  explicit ZipFile(const std::string& path);

  // Names are those within the folder: "data.pkl" for "archive/data.pkl".
  bool has(const std::string& record) const;
  uint64_t bytes() const { return size_; }                 // of the whole file
  uint64_t size(const std::string& record) const;          // bytes when read
  void read(const std::string& record, void* data) const;  // size(record) bytes
  std::string text(const std::string& record) const;

 private:
  struct Entry {
    std::string name;
    uint64_t header = 0, data = 0;  // offsets in the file
    uint64_t stored = 0, size = 0;  // bytes in the file, bytes when read
    uint32_t checksum = 0;
    uint16_t method = 0, flags = 0;
  };
  struct Directory {
    uint64_t offset = 0, bytes = 0, entries = 0, end = 0;  // `end`: where what follows the directory begins
  };

  [[noreturn]] void bad(const std::string& what) const;
  [[noreturn]] void bad(const Entry& entry, const std::string& what) const;
  std::string bytes_at(uint64_t offset, uint64_t count, const char* what) const;
  Directory find_directory() const;
  void read_directory();
  Entry central_entry(const std::string& directory, size_t& at) const;
  void read_wide_fields(Entry& entry, const std::string& extra) const;
  void check_name(const Entry& entry) const;
  void locate_data(Entry& entry) const;
  void check_layout(std::vector<Entry>& entries, const Directory& directory) const;
  const Entry& entry(const std::string& record) const;
  void inflate(const Entry& entry, void* data) const;

  std::string path_;
  Descriptor file_;
  uint64_t size_ = 0;
  std::string folder_;  // "archive/"
  std::map<std::string, Entry> entries_;
};

}  // namespace osculant
