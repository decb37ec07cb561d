#pragma once

namespace osculant {

// While one lives, libtorch picks kernels whose backward pass can be differentiated again: attention from
// elementary operations in place of the fused ones, and recurrent networks without cuDNN. The choice is made
// in the forward pass and holds for the graph it records. The switches are libtorch's own and global to the
// process.
class TwiceDifferentiableKernels {
 public:
  explicit TwiceDifferentiableKernels(bool recurrent);
  ~TwiceDifferentiableKernels();
  TwiceDifferentiableKernels(const TwiceDifferentiableKernels&) = delete;
  TwiceDifferentiableKernels& operator=(const TwiceDifferentiableKernels&) = delete;

 private:
  bool flash_, memory_efficient_, cudnn_attention_, math_, cudnn_;
};

}  // namespace osculant
