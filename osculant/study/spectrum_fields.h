#pragma once

#include "osculant/study/landscape_fields.h"
#include "osculant/study/spectrum_record.h"

namespace osculant {

// The fields of spectrum.MATRIX (docs/result-format.md), for json_fields.h.

template <class Fields>
void visit(Fields& fields, EigenvalueRecord& pair) {
  fields("value", pair.value);
  fields("residual", pair.residual);
  fields("distance", pair.distance);
}

template <class Fields>
void visit(Fields& fields, TraceRecord& trace) {
  fields("value", trace.value);
  fields("low", trace.low);
  fields("high", trace.high);
  fields("probes", trace.probes);
  fields("exact", trace.exact);
}

template <class Fields>
void visit(Fields& fields, DensityRecord& density) {
  fields("width", density.width);
  fields("grid", density.grid);
  fields("density", density.value);
  fields("low", density.low);
  fields("high", density.high);
  fields("cumulative", density.cumulative);
  fields("cumulative_low", density.cumulative_low);
  fields("cumulative_high", density.cumulative_high);
  fields("wasserstein_error", density.wasserstein_error);
  fields("exact", density.exact);
  fields("how", density.how);
}

template <class Fields>
void visit(Fields& fields, NumericalRankRecord& rank) {
  visit(fields, static_cast<IntervalRecord&>(rank));
  fields("threshold", rank.threshold);
}

template <class Fields>
void visit(Fields& fields, LayerRankRecord& layer) {
  fields("name", layer.name);
  fields("parameters", layer.parameters);
  fields("numerical", layer.numerical);
  fields("upper_bound", layer.upper_bound);
  fields("stable", layer.stable);
  fields("participation", layer.participation);
  fields("rank_one", layer.rank_one);
  fields("dominance", layer.dominance);
  fields("exact", layer.exact);
  fields("how", layer.how);
}

template <class Fields>
void visit(Fields& fields, RankRecord& rank) {
  fields("numerical", rank.numerical);
  fields("upper_bound", rank.upper_bound);
  fields("stable", rank.stable);
  fields("effective", rank.effective);
  fields("participation", rank.participation);
  fields("rank_one", rank.rank_one);
  fields("dominance", rank.dominance);
  fields("miss_probability", rank.miss_probability);
  fields("exact", rank.exact);
  fields("how", rank.how);
  fields("layers", rank.layers);
}

template <class Fields>
void visit(Fields& fields, SparsityRecord::Layer& layer) {
  fields("name", layer.name);
  fields("parameters", layer.parameters);
}

template <class Fields>
void visit(Fields& fields, SparsityRecord& sparsity) {
  fields("structure", sparsity.structure);
  fields("width", sparsity.width);
  fields("words", sparsity.words);
  fields("tolerance", sparsity.tolerance);
  fields("layers", sparsity.layers);
  fields("norms", sparsity.norms);
  fields("frobenius", sparsity.frobenius);
  fields("off_diagonal", sparsity.off_diagonal);
  fields("beyond", sparsity.beyond);
  fields("scale", sparsity.scale);
  fields("largest_high", sparsity.largest_high);
  fields("threshold", sparsity.threshold);
  fields("negligible", sparsity.negligible);
  fields("columns", sparsity.columns);
  fields("miss_probability", sparsity.miss_probability);
  fields("exact", sparsity.exact);
  fields("how", sparsity.how);
}

template <class Fields>
void visit(Fields& fields, LowRankRecord::Rank& rank) {
  fields("low", rank.low);
  fields("high", rank.high);
}

template <class Fields>
void visit(Fields& fields, LowRankRecord::Method& method) {
  fields("method", method.name);
  fields("error", method.error);
  fields("rank", method.rank);
  fields("words", method.words);
  fields("note", method.note);
  fields("products", method.products);
}

template <class Fields>
void visit(Fields& fields, LowRankRecord& low_rank) {
  fields("wanted", low_rank.wanted);
  fields("frobenius", low_rank.frobenius);
  fields("methods", low_rank.methods);
  fields("exact", low_rank.exact);
  fields("how", low_rank.how);
}

template <class Fields>
void visit(Fields& fields, SpectrumRecord& spectrum) {
  fields("note", spectrum.note);
  fields("largest", spectrum.largest);
  fields("smallest", spectrum.smallest);
  fields("converged", spectrum.converged);
  fields("stop", spectrum.stop);
  fields("tolerance", spectrum.tolerance);
  fields("pairing_failure_probability", spectrum.pairing_failure_probability);
  fields("miss_probability", spectrum.miss_probability);
  fields("trace", spectrum.trace);
  fields("density", spectrum.density);
  fields("rank", spectrum.rank);
  fields("frobenius", spectrum.frobenius);
  fields("sparsity", spectrum.sparsity);
  fields("low_rank", spectrum.low_rank);
  if (!spectrum.layer_norms.empty() || Fields::reads) fields("layer_norms", spectrum.layer_norms);
  fields("alignment", spectrum.alignment);
  fields("slices", spectrum.slices);
  fields("sampling_error", spectrum.sampling_error);
  fields("products", spectrum.products);
  fields("finished", spectrum.finished);
}

}  // namespace osculant
