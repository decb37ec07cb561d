#include "osculant/optim/regularizer_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

template <class Options>
void visit_common(OptionVisitor& v, Options& o) {
  v.number("strength", o.strength, ">= 0", "what R is multiplied by");
  v.text("parameters", o.parameters, "a name with * and ?", "the parameters that g and B are those of");
}

template <class Options>
void visit_matrix(OptionVisitor& v, Options& o) {
  visit_common(v, o);
  v.choice("matrix", o.matrix,
           {{"hessian", PenaltyMatrix::hessian}, {"gauss_newton", PenaltyMatrix::gauss_newton}}, "B");
}

void visit(OptionVisitor& v, GradientPenaltyOptions& o) {
  visit_common(v, o);
}

void visit(OptionVisitor& v, GradientLowRankOptions& o) {
  visit_common(v, o);
  v.integer("rank", o.rank, ">= 1", "singular values of each gradient matrix that are left alone");
}

void visit(OptionVisitor& v, ProbePenaltyOptions& o) {
  visit_matrix(v, o);
  v.integer("probes", o.probes, ">= 1", "random vectors a step");
}

void visit(OptionVisitor& v, SpectralPenaltyOptions& o) {
  visit_matrix(v, o);
  v.integer("iterations", o.iterations, ">= 1", "of the power method a step");
}

void visit(OptionVisitor& v, TailEnergyOptions& o) {
  visit_matrix(v, o);
  v.integer("rank", o.rank, ">= 1", "eigenvalues that are left alone");
  v.integer("probes", o.probes, ">= 1", "random vectors a step");
  v.integer("refresh", o.refresh, ">= 1", "steps between refreshes of V");
}

void visit(OptionVisitor& v, ColumnSparsityOptions& o) {
  visit_matrix(v, o);
  v.integer("columns", o.columns, ">= 1", "random columns a step");
  v.number("width", o.width, "> 0", "entries below it are penalised by their square");
}

template <class Options>
RegularizerInfo row(std::string name, std::string formula, std::string citation,
                    regularizers::RegularizerPtr (*make)(const Options&)) {
  Options defaults;
  OptionLister lister;
  visit(lister, defaults);
  auto from_map = [name, make](const OptionMap& values, uint64_t seed) {
    Options options;
    OptionReader reader(name, values);
    visit(reader, options);
    reader.require_all_read();
    if constexpr (requires { options.seed; }) options.seed = seed;
    return make(options);
  };
  return {std::move(name), std::move(formula), std::move(citation), lister.options, from_map};
}

std::vector<RegularizerInfo> make_table() {
  using namespace regularizers;
  return {
      row("gradient_norm", "norm(g)", "Zhao, Zhang & Hu 2022", gradient_norm),
      row("squared_gradient_norm", "norm(g)^2 / 2", "Barrett & Dherin 2021; Smith et al. 2021",
          squared_gradient_norm),
      row("gradient_low_rank", "sum over gradient matrices and i > rank of s_i^2", "", gradient_low_rank),
      row("trace", "tr(B), by mean of v'Bv", "Hutchinson 1990", trace),
      row("frobenius", "norm_F(B)^2, by mean of norm(Bv)^2", "Hutchinson 1990", frobenius),
      row("spectral", "abs(v'Bv), v by the power method", "Yoshida & Miyato 2017 for weights", spectral),
      row("tail_energy", "norm_F(B (I - V V'))^2, by mean of norm(B Q z)^2", "", tail_energy),
      row("column_sparsity", "mean of smooth_l1(B_ij) over random columns j", "", column_sparsity),
  };
}

}  // namespace

const std::vector<RegularizerInfo>& regularizer_table() {
  static const std::vector<RegularizerInfo> table = make_table();
  return table;
}

const RegularizerInfo& find_regularizer(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& info : regularizer_table()) {
    if (info.name == name) return info;
    names.push_back(info.name);
  }
  fail_usage(fmt::format("\"{}\": no regulariser is called that{}; known: {}", name,
                         did_you_mean(name, names), fmt::join(names, ", ")));
}

}  // namespace osculant
