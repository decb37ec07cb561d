#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <vector>

#include "osculant/model/model.h"

namespace osculant {

struct ExportedOptions {
  at::Device device = at::kCPU;
  std::optional<at::ScalarType> dtype = {};  // floating dtype to run in; by default the program's own
  std::vector<std::string> frozen = {};      // globs of parameters that are not trained
  std::vector<std::string> allowed_operators =
      {};  // beyond the built-in list, "aten::name": for files you trust
};

// A model from a file of torch.export.save (.pt2). It is differentiable to any order that its operators are,
// has the parameters' own names, and starts in eval mode; train() and eval() switch batch norm, dropout and
// the like whichever mode it was exported in, save for attention's dropout, which a program exported in eval
// mode no longer knows. Attention runs from elementary operations, since the fused kernels have no second
// derivative.
//
// The file is data: it is read with bounds checked, and only operators of a written-out list are called.
// Throws Error(data) naming the file, and the node where there is one, for a file that is missing, truncated,
// of another kind or schema, or that uses what is not supported.
Model load_exported(const std::string& path, const ExportedOptions& options = {});

}  // namespace osculant
