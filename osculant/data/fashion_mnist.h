#pragma once

#include <string>

#include "osculant/data/dataset.h"

namespace osculant {

enum class Split { train, test };

// Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): 60,000 and 10,000 grey images of clothes in ten classes.
// Inputs are float32 [N, 1, 28, 28] with the values 0 to 255 of the files (scaled(255) is usual), targets
// int64 [N].
//
// Read from `folder`, or from where the environment variable OSCULANT_FASHION_MNIST says, or from
// /usr/share/datasets/fashion-mnist, where Debian's package dataset-fashion-mnist puts it.
Dataset fashion_mnist(Split split, const std::string& folder = "");

}  // namespace osculant
