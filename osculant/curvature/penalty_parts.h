#pragma once

#include <ATen/ATen.h>

#include <string>

#include "osculant/tensor/parameter_layout.h"

// What the sources of the regularisers share.
namespace osculant::penalty_parts {

void check_common(double strength, const std::string& parameters);

// 1 on the parameters chosen, 0 elsewhere, [n]; undefined for all of them.
Tensor mask_of(const ParameterLayout& layout, const std::string& parameters);

// The entries of the parameters chosen, 0 in place of the others; rows [m, n].
Tensor chosen(const ParameterLayout& layout, const std::string& parameters, const Tensor& rows);

double sum_of_squares(const Tensor& u);  // in float64

}  // namespace osculant::penalty_parts
