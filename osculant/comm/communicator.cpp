#include "osculant/comm/communicator.h"

namespace osculant {
namespace {

class Serial : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(at::Tensor&) const override {}
};

}  // namespace

const Communicator& serial_communicator() {
  static const Serial serial;
  return serial;
}

}  // namespace osculant
