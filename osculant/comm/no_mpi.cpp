#include "osculant/comm/mpi_communicator.h"

namespace osculant {

std::unique_ptr<MpiCommunicator> start_mpi(int64_t) {
  return nullptr;
}

}  // namespace osculant
