#pragma once

#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct SgdOptions {
  double learning_rate = 1e-2;
  double weight_decay = 0;
  void check() const;
};
void visit(OptionVisitor& visitor, SgdOptions& options);

struct MomentumOptions {
  double learning_rate = 1e-2;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0;
  void check() const;
};
void visit(OptionVisitor& visitor, MomentumOptions& options);

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  void check() const;
};
void visit(OptionVisitor& visitor, AdamOptions& options);

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  void check() const;
};
void visit(OptionVisitor& visitor, AdamWOptions& options);

struct RmspropOptions {
  double learning_rate = 1e-2;
  double alpha = 0.99;
  double epsilon = 1e-8;
  double momentum = 0;
  bool centered = false;
  double weight_decay = 0;
  void check() const;
};
void visit(OptionVisitor& visitor, RmspropOptions& options);

// libtorch's own optimisers on theta as one tensor: to the bit what they would do with the same gradients.
std::unique_ptr<Direction> torch_sgd(const SgdOptions& options);
std::unique_ptr<Direction> torch_sgd(const MomentumOptions& options);
std::unique_ptr<Direction> torch_adam(const AdamOptions& options);
std::unique_ptr<Direction> torch_adamw(const AdamWOptions& options);
std::unique_ptr<Direction> torch_rmsprop(const RmspropOptions& options);

}  // namespace osculant
