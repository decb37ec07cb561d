#include "osculant/linop/kronecker_archive.h"

#include <fmt/format.h>

#include "osculant/base/error.h"

namespace osculant {
namespace {

void save(Archive& archive, const std::string& name, const BlockDiagonal& B) {
  archive.put(name + ".count", static_cast<int64_t>(B.blocks().size()));
  for (size_t i = 0; i < B.blocks().size(); ++i) archive.put(fmt::format("{}.{}", name, i), B.blocks()[i]);
}

Tensor on_layout(const Archive& archive, const std::string& name, const ParameterLayout& layout) {
  return archive.tensor(name).to(layout.device(), layout.dtype());
}

BlockDiagonal load(const Archive& archive, const std::string& name, const ParameterLayout& layout) {
  std::vector<Tensor> blocks;
  for (int64_t i = 0; i < archive.integer(name + ".count"); ++i)
    blocks.push_back(on_layout(archive, fmt::format("{}.{}", name, i), layout));
  if (blocks.empty()) fail_data(fmt::format("checkpoint: entry {}.count: must be >= 1", name));
  return BlockDiagonal(std::move(blocks));
}

void save(Archive& archive, const MatrixPlace& p) {
  archive.put("offset", p.offset);
  archive.put("groups", p.groups);
  archive.put("rows", p.rows);
  archive.put("columns", p.columns);
  archive.put("transposed", p.transposed);
  if (p.last_column) archive.put("last_column", *p.last_column);
}

MatrixPlace load_place(const Archive& archive) {
  MatrixPlace p{archive.integer("offset"),  archive.integer("groups"),  archive.integer("rows"),
                archive.integer("columns"), archive.flag("transposed"), {}};
  if (archive.contains("last_column")) p.last_column = archive.integer("last_column");
  return p;
}

}  // namespace

void save(Archive& archive, const std::vector<EigenBlock>& blocks) {
  archive.put("count", static_cast<int64_t>(blocks.size()));
  for (size_t b = 0; b < blocks.size(); ++b) {
    auto scope = archive.scope(fmt::format("{}", b));
    scope.put("name", blocks[b].name);
    save(scope, blocks[b].place);
    save(scope, "outputs", blocks[b].outputs);
    save(scope, "inputs", blocks[b].inputs);
    scope.put("values", blocks[b].values);
  }
}

std::vector<EigenBlock> load_eigen_blocks(const Archive& archive, const ParameterLayout& layout) {
  std::vector<EigenBlock> blocks;
  for (int64_t b = 0; b < archive.integer("count"); ++b) {
    auto scope = archive.scope(fmt::format("{}", b));
    blocks.push_back({scope.text("name"), load_place(scope), load(scope, "outputs", layout),
                      load(scope, "inputs", layout), on_layout(scope, "values", layout)});
  }
  return blocks;
}

}  // namespace osculant
