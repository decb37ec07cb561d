#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "osculant/tensor/batch.h"

namespace osculant {

// Where examples come from. In memory: Dataset. A source of your own implements two functions.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual int64_t size() const = 0;                           // examples
  virtual Batch range(int64_t begin, int64_t end) const = 0;  // begin <= i < end, in the source's order
  virtual Batch select(const Tensor& indices) const = 0;      // int64 [m]
};

// A batch in memory whose numbers were checked when its data set was made.
class BatchInMemory : public ExampleSource {
 public:
  explicit BatchInMemory(Batch batch) : batch_(std::move(batch)) {}
  int64_t size() const override { return batch_.size(); }
  Batch range(int64_t begin, int64_t end) const override {
    return begin == 0 && end == size() ? batch_ : batch_.slice(begin, end);
  }
  Batch select(const Tensor& indices) const override { return batch_.select(indices); }

 private:
  Batch batch_;
};

// A source and the size of the batches it is read in. A handle.
class BatchSource {
 public:
  BatchSource(std::shared_ptr<const ExampleSource> source, int64_t batch_size);

  int64_t examples() const { return source_->size(); }
  int64_t batch_size() const { return batch_size_; }  // never more than examples()
  int64_t batches() const { return (examples() + batch_size_ - 1) / batch_size_; }
  Batch batch(int64_t i) const;  // the last one may be smaller
  Batch select(const Tensor& indices) const { return source_->select(indices); }
  BatchSource with_batch_size(int64_t batch_size) const { return BatchSource(source_, batch_size); }
  const std::shared_ptr<const ExampleSource>& source() const { return source_; }

 private:
  std::shared_ptr<const ExampleSource> source_;
  int64_t batch_size_;
};

// Whether inputs are normalised by one mean and deviation each, as images are, or feature by feature.
enum class Statistics { whole, per_feature };

// Mean and standard deviation of each input, to be applied to other data as well: a test set is normalised by
// the training set's. Undefined for inputs that hold indices.
struct Normalization {
  std::vector<Tensor> mean, deviation;  // a deviation of 0 is given as 1
};

// Examples in memory: named inputs, named targets, optional weights; the first dimension is the example.
// A value: the transformations return another one and leave this as it was. Those of quantities (scaled,
// normalized, average_pooled) apply to floating-point and uint8 inputs, the latter becoming float32; other
// integers are indices and stay.
class Dataset : public ExampleSource {
 public:
  Dataset(Tensor inputs, Tensor targets, Tensor weights = {});
  // Throws Error(data) when first dimensions differ, nothing is there, or an entry is not finite, naming its
  // position: "inputs[17, 3] = nan". Weights must be >= 0 and not all 0.
  explicit Dataset(Batch examples);

  int64_t size() const override { return examples_.size(); }
  Batch range(int64_t begin, int64_t end) const override { return examples_.slice(begin, end); }
  Batch select(const Tensor& indices) const override { return examples_.select(indices); }
  const Batch& examples() const { return examples_; }

  BatchSource batches(int64_t batch_size) const;  // at most the whole set
  BatchSource full() const { return batches(size()); }

  Dataset take(int64_t count) const;  // the first `count`
  Dataset shuffled(uint64_t seed) const;
  std::pair<Dataset, Dataset> split(double first_share) const;  // in order: shuffle before
  Dataset scaled(double divisor) const;                         // inputs / divisor
  Normalization normalization(Statistics statistics = Statistics::whole) const;
  Dataset normalized(const Normalization& by) const;  // (inputs - mean) / deviation
  Dataset normalized() const { return normalized(normalization()); }
  Dataset average_pooled(int64_t factor) const;  // images [N, (C,) H, W], factor x factor means
  Dataset flattened() const;                     // inputs to [N, -1]
  Dataset autoencoding() const;                  // targets = inputs
  Dataset to(at::Device device, at::ScalarType dtype) const;

 private:
  Batch examples_;
};

}  // namespace osculant
