#pragma once

#include <map>
#include <string>
#include <vector>

#include "osculant/optim/options.h"

namespace osculant {

// "sgd:learning_rate=0.1,weight_decay=1e-4", as lists of methods and of regularisers have it.
struct NamedOptions {
  std::string label;  // as it was given, without spaces
  std::string name;
  OptionMap options;
  std::map<std::string, std::string> texts;  // the same, as they were given
};

// A list of such, from a run file or a shell, where commas separate its entries as well: what has a '=' and
// no
// ':' before it belongs to the entry before it. Error(usage) beginning with `origin`, the key; `kind` is what
// the names are of: "method".
std::vector<NamedOptions> read_named_options(const std::vector<std::string>& texts, const std::string& origin,
                                             const std::string& kind);

}  // namespace osculant
