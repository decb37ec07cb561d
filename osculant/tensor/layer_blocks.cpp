#include "osculant/tensor/layer_blocks.h"

#include <fmt/format.h>

#include <map>

namespace osculant {

std::vector<LayerBlock> layer_blocks(const ParameterLayout& layout) {
  std::vector<LayerBlock> blocks;
  std::map<std::string, int> pieces;
  std::string last;
  for (const auto& p : layout.parameters()) {
    auto dot = p.name.rfind('.');
    std::string layer = dot == std::string::npos ? p.name : p.name.substr(0, dot);
    if (blocks.empty() || layer != last) {
      int piece = ++pieces[layer];
      blocks.push_back({piece == 1 ? layer : fmt::format("{} ({})", layer, piece), p.offset, 0});
      last = layer;
    }
    blocks.back().size += p.size;
  }
  return blocks;
}

}  // namespace osculant
