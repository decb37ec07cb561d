#pragma once

namespace osculant {

// Where several processes share a run, one of them writes its files, and speaks: in the others AtomicFile,
// LineFile and the terminal do nothing. True unless told otherwise.
bool writes_files();
void set_writes_files(bool writes);

}  // namespace osculant
