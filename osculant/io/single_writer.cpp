#include "osculant/io/single_writer.h"

namespace osculant {
namespace {

bool writes = true;

}  // namespace

bool writes_files() {
  return writes;
}
void set_writes_files(bool now) {
  writes = now;
}

}  // namespace osculant
