#include "osculant/spectrum/eigen_file.h"

#include "osculant/io/archive.h"

namespace osculant {
namespace {

constexpr const char* kind = "osculant eigenpairs";
constexpr int64_t version = 1;

template <class Visitor, class Result>
void visit_numbers(Visitor&& v, Result& pairs) {
  v("scale", pairs.scale);
  v("tolerance", pairs.tolerance);
  v("noise", pairs.noise);
  v("pairing_bound", pairs.pairing_bound);
  v("pairing_failure_probability", pairs.pairing_failure_probability);
  v("extreme_failure_probability", pairs.extreme_failure_probability);
  v("missed_failure_probability", pairs.missed_failure_probability);
}

template <class Visitor, class Result>
void visit_integers(Visitor&& v, Result& pairs) {
  v("largest_count", pairs.largest_count);
  v("check_steps", pairs.check_steps);
  v("found_by_check", pairs.found_by_check);
  v("size", pairs.size);
  v("products", pairs.products);
  v("restarts", pairs.restarts);
  v("krylov_dimension", pairs.krylov_dimension);
}

}  // namespace

void save_eigenpairs(const EigenResult& pairs, const std::string& path) {
  Archive archive(kind, version);
  // By rows as they lie in memory: a vector a row.
  archive.put("vectors", pairs.vectors.t().contiguous());
  archive.put("values", pairs.values);
  archive.put("residuals", pairs.residuals);
  archive.put("target", static_cast<int64_t>(pairs.target));
  archive.put("stop", static_cast<int64_t>(pairs.stop));
  archive.put("checked", pairs.checked);
  archive.put("name", pairs.name);
  archive.put("message", pairs.message);
  auto put = [&](const char* name, auto value) { archive.put(name, value); };
  visit_numbers(put, pairs);
  visit_integers(put, pairs);
  archive.save(path);
}

EigenResult load_eigenpairs(const std::string& path) {
  Archive archive = Archive::load(path, kind, version);
  EigenResult pairs;
  pairs.vectors = archive.tensor("vectors").t();
  pairs.values = archive.tensor("values");
  pairs.residuals = archive.tensor("residuals");
  pairs.target = static_cast<EigenTarget>(archive.integer("target"));
  pairs.stop = static_cast<EigenStop>(archive.integer("stop"));
  pairs.checked = archive.flag("checked");
  pairs.name = archive.text("name");
  pairs.message = archive.text("message");
  visit_numbers([&](const char* name, double& value) { value = archive.number(name); }, pairs);
  visit_integers([&](const char* name, int64_t& value) { value = archive.integer(name); }, pairs);
  return pairs;
}

}  // namespace osculant
