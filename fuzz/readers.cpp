#include <ATen/ATen.h>

#include <cstdlib>

#include "fuzz/targets.h"
#include "osculant/data/csv.h"
#include "osculant/data/idx.h"
#include "osculant/data/safetensors_dataset.h"
#include "osculant/data/text_dataset.h"
#include "osculant/io/archive.h"
#include "osculant/io/safetensors.h"
#include "osculant/io/torch_file.h"
#include "osculant/io/torch_pickle.h"
#include "osculant/model/exported_archive.h"
#include "osculant/model/exported_graph.h"
#include "osculant/report/page.h"
#include "osculant/study/contestant_log.h"
#include "osculant/study/result.h"
#include "osculant/study/run_config.h"

namespace osculant::fuzz {

namespace {

std::string text_of(const uint8_t* data, size_t bytes) {
  return {reinterpret_cast<const char*>(data), bytes};
}

// Every byte of a tensor is there and can be read.
void touch(const at::Tensor& tensor) {
  volatile unsigned char sum = 0;
  const auto* bytes = static_cast<const unsigned char*>(tensor.contiguous().const_data_ptr());
  for (size_t i = 0; i < tensor.nbytes(); ++i) sum = static_cast<unsigned char>(sum + bytes[i]);
}

void program(const uint8_t* data, size_t bytes) {
  guard_tensor_memory();
  FileOfBytes file(data, bytes);
  accepts_or_refuses([&] {
    auto archive = exported::read_archive(file.path());
    for (const auto* tensors : {&archive.weights, &archive.constants})
      for (const auto& [name, stored] : *tensors) touch(stored.tensor);
    exported::parse_program(archive.model_json, file.path());
  });
}

void torch_file(const uint8_t* data, size_t bytes) {
  guard_tensor_memory();
  FileOfBytes file(data, bytes);
  accepts_or_refuses([&] {
    for (const auto& entry : load_torch_tensors(file.path())) touch(entry.tensor);
  });
}

void torch_pickle(const uint8_t* data, size_t bytes) {
  accepts_or_refuses([&] { parse_pickled_tensors(text_of(data, bytes), "data.pkl"); });
}

void safetensors(const uint8_t* data, size_t bytes) {
  guard_tensor_memory();
  FileOfBytes file(data, bytes);
  accepts_or_refuses([&] {
    for (const auto& entry : load_safetensors(file.path()).tensors) touch(entry.tensor);
  });
  accepts_or_refuses([&] { load_dataset(file.path()); });
}

void checkpoint(const uint8_t* data, size_t bytes) {
  accepts_or_refuses([&] {
    auto archive = Archive::from_parts({text_of(data, bytes), {}}, "checkpoint", "osculant checkpoint", 1);
    for (const auto& name : archive.names()) {
      accepts_or_refuses([&] { archive.number(name); });
      accepts_or_refuses([&] { archive.texts(name); });
    }
  });
}

void idx(const uint8_t* data, size_t bytes) {
  guard_tensor_memory();
  FileOfBytes file(data, bytes);
  accepts_or_refuses([&] { touch(load_idx(file.path())); });
}

void csv(const uint8_t* data, size_t bytes) {
  if (bytes == 0) return;
  FileOfBytes file(data + 1, bytes - 1);
  CsvOptions options;
  options.classes = data[0] & 1;
  if (data[0] & 2) options.targets = {"y"};
  if (data[0] & 4) options.ignore = {"id"};
  accepts_or_refuses([&] { load_csv(file.path(), options); });
}

void text(const uint8_t* data, size_t bytes) {
  if (bytes < 2) return;
  FileOfBytes file(data + 2, bytes - 2);
  TextOptions options;
  options.context = data[0];
  options.test_share = data[1] / 256.0;
  accepts_or_refuses([&] { load_text(file.path(), options); });
}

void run_file(const uint8_t* data, size_t bytes) {
  accepts_or_refuses([&] {
    RunConfig config;
    config.read_text(text_of(data, bytes), "run.toml");
    RunConfig again;  // what was taken can be written and taken again
    again.read_text(config.to_toml(), "again.toml");
    if (again.to_toml() != config.to_toml()) std::abort();
  });
}

// result.json, metrics.jsonl, contestants.jsonl: what `report` and `--resume` read back. Parts are divided by
// a line of three dashes.
void result(const uint8_t* data, size_t bytes) {
  std::string whole = text_of(data, bytes);
  size_t cut = whole.find("\n---\n");
  ReportFiles files{.folder = "run", .result = whole.substr(0, cut)};
  if (cut != std::string::npos) files.steps = whole.substr(cut + 5);
  accepts_or_refuses([&] {
    if (render_report(files).find("<script>alert") != std::string::npos) std::abort();
  });
  accepts_or_refuses([&] { contestant_from_json(files.result); });
  FileOfBytes file(data, files.result.size());
  accepts_or_refuses([&] { partial_analysis(file.path()); });
}

}  // namespace

void graph(const uint8_t* data, size_t bytes);      // programs.cpp
void operators(const uint8_t* data, size_t bytes);  // programs.cpp

const NamedTarget targets[] = {{"program", program},
                               {"graph", graph},
                               {"operators", operators},
                               {"torch_file", torch_file},
                               {"torch_pickle", torch_pickle},
                               {"safetensors", safetensors},
                               {"checkpoint", checkpoint},
                               {"idx", idx},
                               {"csv", csv},
                               {"text", text},
                               {"run_file", run_file},
                               {"result", result}};
const size_t target_count = sizeof targets / sizeof *targets;

}  // namespace osculant::fuzz
