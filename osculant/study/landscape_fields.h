#pragma once

#include "osculant/study/json_fields.h"
#include "osculant/study/landscape_record.h"

namespace osculant {

// The fields of spectrum.MATRIX.alignment, .slices and .sampling_error, for json_fields.h.

template <class Fields>
void visit(Fields& fields, IntervalRecord& x) {
  fields("value", x.value);
  fields("low", x.low);
  fields("high", x.high);
}

template <class Fields>
void visit(Fields& fields, AlignmentRecord::End& end) {
  fields("cosines", end.cosines);
  fields("shares", end.shares);
}

template <class Fields>
void visit(Fields& fields, AlignmentRecord::Direction& direction) {
  fields("curvature", direction.curvature);
  fields("rounding", direction.rounding);
}

template <class Fields>
void visit(Fields& fields, AlignmentRecord& alignment) {
  fields("gradient", alignment.gradient);
  fields("random", alignment.random);
  fields("largest", alignment.largest);
  fields("smallest", alignment.smallest);
  fields("miss_probability", alignment.miss_probability);
}

template <class Fields>
void visit(Fields& fields, SlicesRecord::Line& line) {
  fields("direction", line.direction);
  fields("slope", line.slope);
  fields("curvature", line.curvature);
  fields("radius", line.radius);
  fields("reach", line.reach);
  fields("steps", line.steps);
  fields("values", line.values);
  fields("model", line.model);
}

template <class Fields>
void visit(Fields& fields, SlicesRecord::Plane& plane) {
  fields("normalization", plane.normalization);
  fields("seed", plane.seed);
  fields("radius", plane.radius);
  fields("steps", plane.steps);
  fields("values", plane.values);
  fields("model", plane.model);
}

template <class Fields>
void visit(Fields& fields, SlicesRecord& slices) {
  fields("lines", slices.lines);
  fields("planes", slices.planes);
}

template <class Fields>
void visit(Fields& fields, SamplingErrorRecord::Size& size) {
  fields("parts", size.parts);
  fields("mean", size.mean);
  fields("deviation", size.deviation);
  fields("values", size.values);
}

template <class Fields>
void visit(Fields& fields, SamplingErrorRecord::Number& number) {
  fields("value", number.value);
  fields("error", number.error);
  fields("deviation", number.deviation);
  fields("bias", number.bias);
  fields("predicted", number.predicted);
  fields("population", number.population);
  fields("sizes", number.sizes);
}

template <class Fields>
void visit(Fields& fields, SamplingErrorRecord& sampling) {
  fields("examples", sampling.examples);
  fields("largest", sampling.largest);
  fields("smallest", sampling.smallest);
  fields("trace", sampling.trace);
}

}  // namespace osculant
