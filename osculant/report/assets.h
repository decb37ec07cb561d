#pragma once

// The files of assets/ and Debian's Chart.js, put into the library by CMake.
namespace osculant::assets {

extern const char* const page_css;
extern const char* const page_js;
extern const char* const chart_js;

}  // namespace osculant::assets
