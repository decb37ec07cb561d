#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "osculant/comm/communicator.h"
#include "osculant/diagnose/gradient_flow.h"
#include "osculant/model/layer_taps.h"

namespace osculant {

// One call of a layer, batch after batch. Sums are kept in float64 on the network's device.
class LayerStatistics {
 public:
  LayerStatistics(const LayerTap& first, std::string name);

  const std::string& name() const { return flow_.name; }  // "0 (2)" for a second call
  const std::string& layer() const { return layer_; }     // "0"
  bool same_call(const LayerTap& tap) const;
  bool is_map() const { return kind_ == LayerKind::linear || kind_ == LayerKind::convolution; }

  // `gradient`: of the batch's summed loss by tap.output; undefined where the loss does not depend on it.
  void add(const LayerTap& tap, const Tensor& gradient, int64_t examples);

  // Back to nothing seen, where the examples that made the first batch's shapes known are another process's.
  void forget();
  // What the processes have seen, put together; in three messages for all layers.
  static void share(std::vector<LayerStatistics>& layers, const Communicator& processes);

  // Whether examples differ in what the layer is given by more than `noise` times its scale; true if unknown.
  bool inputs_differ(double noise) const;
  bool weight_is_zero() const { return weight_is_zero_; }
  bool finite() const;  // outputs and gradients

  LayerFlow flow(double gradient_ratio, double saturation) const;

 private:
  // Mean and squared deviations of each entry over examples, merged batch by batch (Chan, Golub & LeVeque
  // 1983).
  struct Moments {
    double count = 0;
    Tensor mean, squares;  // [entries]
    bool valid = true;     // the first dimension has been the example throughout
    void add(const Tensor& x, int64_t examples);
    void forget();
    double variance() const;  // mean over entries
    double scale() const;     // root mean square
  };

  void add_units(const LayerTap& tap);

  LayerFlow flow_;
  LayerKind kind_;
  bool weight_is_zero_;
  std::string layer_, parameter_;
  Moments input_, output_;
  Tensor gradient_squares_;  // scalar
  Tensor finite_;            // scalar bool
  double examples_ = 0;
  ActivationKind activation_;
  Tensor alive_;        // [units] bool
  Tensor derivative_;   // [units] sums of the activation's derivative
  double entries_ = 0;  // that each of these sums over
};

}  // namespace osculant
