#pragma once

#include <string>
#include <vector>

namespace osculant {

// What a run writes in its result directory, by name; `checkpoints` and `eigenpairs` are folders.
const std::vector<std::string>& known_entries();

// Throws Error(write) when something that a run writes is a link in this folder: the result of a stranger could
// otherwise have files elsewhere replaced.
void refuse_links(const std::string& folder);

// What `schema` is in every result.json that this version writes (docs/result-format.md).
constexpr int result_schema = 1;

// Throws Error(data) naming the file when a result.json is of another schema: `schema` is what it says, NaN where it
// says nothing.
void require_known_schema(double schema, const std::string& path);

}  // namespace osculant
