#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "osculant/io/record_tensors.h"

namespace osculant {

// A tensor of a dict that torch.save wrote: its key, the record that holds its storage, its place in there.
struct PickledTensor {
  std::string name;
  std::string record;  // "data/0"
  Placement placement;
};

// Reads data.pkl of an archive of torch.save: a pickle of protocol 2 that makes a dict (or OrderedDict) of
// tensors. Of the language of pickles only what that takes is understood, and nothing is ever called: a name
// other than those of tensors, parameters and their storages is refused. Throws Error(data) beginning with
// `where`.
std::vector<PickledTensor> parse_pickled_tensors(std::string_view pickle, const std::string& where);

}  // namespace osculant
