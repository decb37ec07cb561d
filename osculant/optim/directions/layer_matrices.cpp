#include "osculant/optim/directions/layer_matrices.h"

#include <ATen/ATen.h>

#include <map>
#include <utility>

namespace osculant {

MatrixGroup::MatrixGroup(int64_t rows, int64_t columns, std::vector<int64_t> offsets)
    : rows_(rows), columns_(columns), offsets_(std::move(offsets)), even_(true) {
  distance_ = count() > 1 ? offsets_[1] - offsets_[0] : rows * columns;
  for (size_t i = 1; i < offsets_.size(); ++i) even_ = even_ && offsets_[i] - offsets_[i - 1] == distance_;
}

Tensor MatrixGroup::view(const Tensor& flat) const {
  return flat.as_strided({count(), rows_, columns_}, {distance_, columns_, 1},
                         flat.storage_offset() + offsets_.front());
}

Tensor MatrixGroup::of(const Tensor& flat) const {
  if (even_) return view(flat);
  std::vector<Tensor> members;
  for (int64_t offset : offsets_)
    members.push_back(flat.narrow(0, offset, rows_ * columns_).view({rows_, columns_}));
  return at::stack(members);
}

void MatrixGroup::put(Tensor& flat, const Tensor& values) const {
  if (even_) {
    view(flat).copy_(values);
    return;
  }
  for (int64_t i = 0; i < count(); ++i)
    flat.narrow(0, offsets_[static_cast<size_t>(i)], rows_ * columns_)
        .view({rows_, columns_})
        .copy_(values[i]);
}

LayerMatrices::LayerMatrices(const ParameterLayout& layout, const Choice& chosen) {
  std::map<std::pair<int64_t, int64_t>, std::vector<int64_t>> shapes;
  for (const auto& p : layout.parameters()) {
    if (p.size == 0) continue;
    int64_t rows = p.shape.empty() ? 1 : p.shape.front(), columns = p.size / rows;
    if (chosen(p, rows, columns)) {
      shapes[{rows, columns}].push_back(p.offset);
      continue;
    }
    rest_ += p.size;
    bool neighbour = !ranges_.empty() && ranges_.back().begin + ranges_.back().size == p.offset;
    if (neighbour)
      ranges_.back().size += p.size;
    else
      ranges_.push_back({p.offset, p.size});
  }
  for (auto& [shape, offsets] : shapes) groups_.emplace_back(shape.first, shape.second, std::move(offsets));
}

Tensor LayerMatrices::rest_of(const Tensor& flat) const {
  std::vector<Tensor> parts;
  for (const auto& range : ranges_) parts.push_back(flat.narrow(0, range.begin, range.size));
  return parts.empty() ? flat.narrow(0, 0, 0) : at::cat(parts);
}

void LayerMatrices::put_rest(Tensor& flat, const Tensor& values) const {
  int64_t at = 0;
  for (const auto& range : ranges_) {
    flat.narrow(0, range.begin, range.size).copy_(values.narrow(0, at, range.size));
    at += range.size;
  }
}

}  // namespace osculant
