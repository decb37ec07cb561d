#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/spectrum/functions.h"
#include "osculant/tensor/batch.h"

namespace osculant {

// What can be said of examples before any network sees them. Counts are exact for the examples given; NaN
// where a question does not apply, as for inputs that are indices.
struct DataFacts {
  int64_t examples = 0;
  int64_t inputs = 0;              // entries of an example's inputs
  int64_t constant_inputs = 0;     // that are the same in every example
  double mean = 0, deviation = 0;  // over all entries of all inputs
  // Of the entries that vary, the largest standard deviation over the smallest.
  double scale_ratio = 0;
  // The largest eigenvalue of the inputs' second moment matrix E x x' as a share of its trace, and the same
  // after the mean is taken from each entry. For a linear layer this matrix is a factor of the curvature:
  // what sticks out of it makes one direction steep and all others flat (LeCun et al. 1998).
  double leading_share = 0, centred_share = 0;
  int64_t duplicates = 0;      // examples whose inputs have come before
  int64_t contradictions = 0;  // of these, with a different target: noise that no network can fit
  int64_t classes = 0;         // of integer targets, one an example; 0: not classes
  double largest_class = 0, smallest_class = 0;  // shares of the examples
  // Of up to 2,000 examples of classes, spread over the data, those of whose 10 nearest others 8 or more have
  // one label: how many, and the share of them that have another label themselves, with Wilson's interval at
  // 95 %. Labels that were drawn anew are among them, and so are examples of classes that overlap in these
  // inputs: a share that disagrees, not one that is wrong (k-nearest-neighbour editing, Wilson 1972).
  int64_t clear_surroundings = 0;
  Measured disagree = {};  // NaN without any

  std::vector<std::string> words() const;  // what of it deserves attention, with its numbers; empty: nothing
};

// Of several inputs those of floating-point numbers are looked at, flattened and beside each other; of
// several targets the first. Reads the examples twice; the second moment takes O(examples inputs
// min(examples, inputs)), the neighbours O(2,000^2 inputs).
DataFacts data_facts(const Batch& examples);

}  // namespace osculant
