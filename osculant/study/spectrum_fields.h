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
void visit(Fields& fields, RankRecord::Numerical& rank) {
  visit(fields, static_cast<IntervalRecord&>(rank));
  fields("threshold", rank.threshold);
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
}

template <class Fields>
void visit(Fields& fields, SpectrumRecord& spectrum) {
  fields("note", spectrum.note);
  fields("largest", spectrum.largest);
  fields("smallest", spectrum.smallest);
  fields("converged", spectrum.converged);
  fields("stop", spectrum.stop);
  fields("tolerance", spectrum.tolerance);
  fields("miss_probability", spectrum.miss_probability);
  fields("trace", spectrum.trace);
  fields("density", spectrum.density);
  fields("rank", spectrum.rank);
  fields("frobenius", spectrum.frobenius);
  fields("alignment", spectrum.alignment);
  fields("slices", spectrum.slices);
  fields("sampling_error", spectrum.sampling_error);
  fields("products", spectrum.products);
  fields("finished", spectrum.finished);
}

}  // namespace osculant
