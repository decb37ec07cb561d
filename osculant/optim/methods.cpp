#include "osculant/optim/methods.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/cost.h"
#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {

namespace {

// What most decides whether a method does well: its learning rate, else the damping, radius or sigma it
// starts with. Not what the method finds by itself.
std::string tuned_option(const std::vector<OptionInfo>& options) {
  for (const char* name : {"learning_rate", "damping", "radius", "sigma"})
    for (const auto& option : options)
      if (option.name == name && option.default_value != "auto") return name;
  return "";
}

// A row's options and factory, from the one function that tells the struct.
template <class Options>
MethodInfo row(std::string name, std::string summary, std::string formula, std::string citation,
               Method (*make)(const Options&), Formula memory, Formula cost) {
  Options defaults;
  OptionLister lister;
  visit(lister, defaults);
  auto from_map = [name, make](const OptionMap& values) {
    Options options;
    OptionReader reader(name, values);
    visit(reader, options);
    reader.require_all_read();
    return make(options);
  };
  return {std::move(name),     std::move(summary), std::move(formula),
          std::move(citation), lister.options,     tuned_option(lister.options),
          std::move(memory),   std::move(cost),    from_map};
}

// `count` vectors of n numbers.
Formula vectors(double count, std::string text) {
  return {std::move(text), [count](const ProblemSize& size) {
            return count * static_cast<double>(size.parameters) * static_cast<double>(size.bytes_per_number);
          }};
}

Formula dense_inverse() {
  return {"8 n^2 bytes, and 6 n numbers", [](const ProblemSize& size) {
            auto n = static_cast<double>(size.parameters);
            return 8 * n * n + 8 * 6 * n;
          }};
}

Formula equivalents(double price, std::string text) {
  return {std::move(text), [price](const ProblemSize& size) { return price * size.share(); }};
}

Formula line_search_cost(double evaluations = 1.2) {
  return equivalents(evaluations * Price::gradient,
                     fmt::format("e b/N, e evaluations a line search; at e = {}, typical", evaluations));
}

double inverse_correction_memory(const ProblemSize& size) {
  auto n = static_cast<double>(size.parameters), bytes = static_cast<double>(size.bytes_per_number);
  auto k = static_cast<double>(resolved_rank({}, size.parameters));
  if (k == n) return n * n * (bytes + 3 * 8);  // products, and the matrix, V, workspace in float64
  return (k + std::max(100.0, 15 * k)) * n * bytes;
}

// At its defaults: the gradient, three products of the model, a trial; of the basis n products at full rank,
// half of the rest's work below it.
double inverse_correction_cost(const ProblemSize& size) {
  auto n = static_cast<double>(size.parameters), k = static_cast<double>(resolved_rank({}, size.parameters));
  double rest = Price::gradient + Price::output_graph + 3 * Price::gauss_newton_product + Price::forward;
  double basis = k == n ? n * Price::gauss_newton_product : rest / 2;
  return (rest + basis) * size.share();
}

double newton_memory(const ProblemSize& size) {
  auto n = static_cast<double>(size.parameters);
  return n * n *
         (static_cast<double>(size.bytes_per_number) + 3 * 8);  // products; H, V, workspace in float64
}

double newton_cost(const ProblemSize& size) {
  auto n = static_cast<double>(size.parameters);
  return (Price::gradient_graph + Price::hessian_product * n + Price::forward) * size.share();
}

// A step by Krylov iterations with H: `iterations` of them, and a trial.
Formula krylov_cost(double iterations) {
  double price = Price::gradient_graph + Price::hessian_product * iterations + Price::forward;
  return equivalents(
      price, fmt::format("(1.1 + 1.5 i + t/3) b/N, i iterations, t trials; at i = {}, t = 1", iterations));
}

// Two matrices for each side of a layer's, counted for square layers, and `count` vectors beside.
Formula two_sided(double count) {
  return vectors(count + 4, fmt::format("({} n + 2 (rows^2 + columns^2) of each layer) numbers; {} n where "
                                        "layers are square",
                                        count, count + 4));
}

// Diagonals of H from one product every so many steps.
Formula diagonal_cost(double interval) {
  double estimate = Price::gradient_graph - Price::gradient + Price::hessian_product;
  return equivalents(
      Price::gradient + estimate / interval,
      fmt::format("(1 + (0.1 + 1.5 p) / interval) b/N, p products an estimate; at p = 1, interval = {}",
                  interval));
}

// Gradient, factors at one drawn target, the graph of J and two of its products, a trial.
Formula kfac_cost() {
  double factors = Price::forward + Price::layer_derivatives;
  double model = Price::output_graph + 2 * Price::jacobian_product;
  return equivalents(
      Price::gradient + model + Price::forward + factors,
      "(1 + (1 + c)/3 / factor_interval + 1.9 + t/3) b/N, c passes for factors, t trials; at c = 1, "
      "t = 1 and with no learning_rate given");
}

// J of a batch, and J'J or J J' with its factor.
Formula jacobian_memory() {
  return {"(2 min(n, b K)^2 + b K n) numbers", [](const ProblemSize& size) {
            auto n = static_cast<double>(size.parameters),
                 m = size.share() * static_cast<double>(size.examples * size.outputs);
            double smaller = std::min(n, m);
            return (2 * smaller * smaller + m * n) * static_cast<double>(size.bytes_per_number);
          }};
}

double jacobian_passes(const ProblemSize& size) {
  return Price::jacobian_transpose_product * static_cast<double>(size.outputs);
}

std::vector<MethodInfo> make_table() {
  constexpr double typical_cg = 50;
  double hessian_free_cost =
      Price::gradient + Price::output_graph + Price::gauss_newton_product * typical_cg + 3 * Price::forward;
  return {
      row("sgd", "gradient descent, torch's", "theta <- theta - eta (g + w theta)", "Robbins & Monro 1951",
          methods::sgd, vectors(1, "n numbers"), equivalents(Price::gradient, "b/N")),
      row("momentum", "gradient descent with momentum, torch's",
          "v <- mu v + g + w theta, theta <- theta - eta v; nesterov: mu v + g + w theta in place of v",
          "Polyak 1964; Sutskever et al. 2013", methods::momentum, vectors(2, "2 n numbers"),
          equivalents(Price::gradient, "b/N")),
      row("adam", "Adam, torch's",
          "m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, "
          "theta <- theta - eta (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)",
          "Kingma & Ba 2015", methods::adam, vectors(3, "3 n numbers"), equivalents(Price::gradient, "b/N")),
      row("adamw", "Adam with decoupled weight decay, torch's",
          "theta <- (1 - eta w) theta, then Adam's step", "Loshchilov & Hutter 2019", methods::adamw,
          vectors(3, "3 n numbers"), equivalents(Price::gradient, "b/N")),
      row("rmsprop", "RMSprop, torch's", "v <- a v + (1 - a) g^2, theta <- theta - eta g / (sqrt(v) + eps)",
          "Tieleman & Hinton 2012", methods::rmsprop, vectors(2, "2 n numbers"),
          equivalents(Price::gradient, "b/N")),
      row("muon", "steps of layers' matrices with all singular values equal; AdamW for the rest",
          "M <- mu M + (1 - mu) G, U S V' = (1 - mu) G + mu M, X <- (1 - eta w) X - eta max(1, "
          "rows/columns)^(1/2) U V'",
          "Jordan et al. 2024; Liu et al. 2025 (match_rms_adamw)", methods::muon, vectors(5, "5 n numbers"),
          equivalents(Price::gradient, "b/N")),
      row("soap", "Adam in the eigenbases of Shampoo's factors",
          "L <- b L + (1 - b) G G', R <- b R + (1 - b) G'G, X <- X - eta Q_L adam(Q_L' G Q_R) Q_R', Q their "
          "eigenvectors",
          "Vyas et al. 2024", methods::soap, two_sided(6), equivalents(Price::gradient, "b/N")),
      row("shampoo", "a factor for each side of a layer's matrix, steps as long as Adam's",
          "L <- b2 L + (1 - b2) G G', R <- b2 R + (1 - b2) G'G, P = L^(-1/4) M R^(-1/4), "
          "X <- X - eta P norm(adam) / norm(P)",
          "Gupta, Koren & Singer 2018; Agarwal et al. 2020 (grafting); Anil et al. 2020; Shi et al. 2023",
          methods::shampoo, two_sided(6), equivalents(Price::gradient, "b/N")),
      row("adahessian", "Adam with the Hessian's diagonal in place of the gradient's size",
          "m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) D^2, D = abs(z H z), z random signs, "
          "theta <- theta - eta (m / (1 - b1^t)) / ((v / (1 - b2^t))^(k/2) + eps)",
          "Yao et al. 2021", methods::adahessian, vectors(7, "7 n numbers"), diagonal_cost(1)),
      row("sophia", "clipped steps along the mean gradient over a mean of curvature diagonals",
          "m <- b1 m + (1 - b1) g, every so many steps h <- b2 h + (1 - b2) (z H z), z random signs, "
          "theta <- (1 - eta w) theta - eta clip(m / max(gamma h, eps), 1)",
          "Liu et al. 2023", methods::sophia, vectors(6, "6 n numbers"), diagonal_cost(10)),
      row("lbfgs", "limited-memory BFGS with strong Wolfe line search; for full batches",
          "theta <- theta - a H g, H the BFGS inverse of the last pairs (step, change of g), a by strong "
          "Wolfe",
          "Nocedal 1980; Liu & Nocedal 1989; More & Thuente 1994", methods::lbfgs,
          vectors(23, "(2 memory + 3) n numbers; at memory = 10"), line_search_cost()),
      row("lsr1", "limited-memory SR1: follows negative curvature away from saddles; for full batches",
          "theta <- theta - a abs(H) g, H the SR1 inverse of the last pairs (step, change of g), a by strong "
          "Wolfe",
          "Byrd, Nocedal & Schnabel 1994; Brust, Erway & Marcia 2017", methods::lsr1,
          vectors(43, "(4 memory + 3) n numbers; at memory = 10"), line_search_cost()),
      row("bfgs", "BFGS with the whole inverse; for full batches of small networks",
          "theta <- theta - a H g, H+ = (I - s y'/s'y) H (I - y s'/s'y) + s s'/s'y, a by strong Wolfe",
          "Broyden, Fletcher, Goldfarb & Shanno 1970", methods::bfgs, dense_inverse(), line_search_cost()),
      row("dfp", "DFP with the whole inverse, the dual of BFGS; for full batches of small networks",
          "theta <- theta - a H g, H+ = H - H y y'H/y'H y + s s'/s'y, a by strong Wolfe",
          "Davidon 1959; Fletcher & Powell 1963", methods::dfp, dense_inverse(), line_search_cost(4)),
      row("broyden", "between BFGS (phi = 0) and DFP (phi = 1); for full batches of small networks",
          "theta <- theta - a H g, H+^-1 = (1 - phi) BFGS + phi DFP of H^-1, a by strong Wolfe",
          "Broyden 1967", methods::broyden, dense_inverse(), line_search_cost()),
      row("ssbroyden",
          "Broyden's class, phi and scaling chosen each step; for full batches of small networks",
          "theta <- theta - a H g, H+ of Broyden's class from H / tau, phi and tau by Al-Baali, a by strong "
          "Wolfe",
          "Oren & Luenberger 1974; Al-Baali 1998; Urban, Stefanou & Pons 2025", methods::ssbroyden,
          dense_inverse(), line_search_cost()),
      row("sr1",
          "rank-one corrections of the whole inverse, which may be indefinite; for full batches of small "
          "networks",
          "theta <- theta - a H g, H+ = H + d d'/d'y, d = s - H y, a by strong Wolfe",
          "Davidon 1959; Conn, Gould & Toint 1991", methods::sr1, dense_inverse(), line_search_cost()),
      row("levenberg_marquardt",
          "damped Gauss-Newton steps from the dense Jacobian; for small networks, any convex loss",
          "theta <- theta + p + q, p = mu s - (J'J + delta D)^-1 (J'r + mu J'J s), r = S^-1 dl/dz, J = S' "
          "dz/dtheta, "
          "S S' the output Hessian, s the last step, q from the outputs' curvature along p",
          "Levenberg 1944; Marquardt 1963; Nielsen 1999; Yamashita & Fukushima 2001; Transtrum & Sethna 2012 "
          "(q)",
          methods::levenberg_marquardt, jacobian_memory(),
          {"(1 + 0.6 K + 1.3 t) b/N, t trials; at t = 1.2",
           [](const ProblemSize& size) {
             double trial = 2 * Price::forward + Price::jacobian_transpose_product;
             return (Price::gradient + jacobian_passes(size) + 1.2 * trial) * size.share();
           }}),
      row("gauss_newton", "natural gradient steps of each batch, exact, with what earlier batches knew",
          "p = mu s - (J'J + delta D)^-1 (J'r + mu J'J s), theta <- theta + eta p, s the last p; r and J as "
          "above",
          "Goldshlager, Abrahamsen & Lin 2024 (SPRING); Ren & Goldfarb 2019 (the dual form)",
          methods::gauss_newton, jacobian_memory(),
          {"(1 + 0.6 K) b/N",
           [](const ProblemSize& size) { return (Price::gradient + jacobian_passes(size)) * size.share(); }}),
      row("hessian_free", "Gauss-Newton or Newton steps by conjugate gradients; for large batches",
          "theta <- theta + a p, (B + lambda I) p = -g by CG, B = G or H, lambda by the gain ratio",
          "Martens 2010; Byrd, Chin, Nocedal & Wu 2012 (samples); Frangella, Tropp & Udell 2023 (low_rank)",
          methods::hessian_free, vectors(22, "(7 + iterates kept) n numbers; at 15 iterates"),
          equivalents(hessian_free_cost,
                      "(2.1 + 1.2 i + t/3) b/N, i CG iterations, t trials; at i = 50, t = 3")),
      row("kfac", "natural gradient steps, each layer's curvature a Kronecker product",
          "d = -(F + lambda I)^-1 g, F = diag(A (x) G), A and G means of a a' and of d d' at drawn targets; "
          "theta <- theta + a d + b s, s the last step, a and b by the Gauss-Newton model",
          "Martens & Grosse 2015; Grosse & Martens 2016 (convolutions); Eschenhagen et al. 2023 (shared "
          "weights)",
          methods::kfac, two_sided(4), kfac_cost()),
      row("ekfac", "K-FAC with corrected eigenvalues",
          "the same with F = Q diag(v) Q', Q eigenvectors of A (x) G, v means of the squares of Q'(examples' "
          "gradients)",
          "George et al. 2018", methods::ekfac, two_sided(6), kfac_cost()),
      row("inverse_correction", "the corrected inverse of a singular Hessian",
          "theta <- theta - eta (H^-1 + eps I) g, H^-1 where abs(l) > tau alone; eta, eps by a quadratic "
          "model",
          "the corrected inverse; Dauphin et al. 2014 (absolute values); Martens & Grosse 2015, section 7 "
          "(the model)",
          methods::inverse_correction,
          {"n <= 500: n^2 (8 * 3 + bytes); else (k + 15 k) n numbers, k = 20", inverse_correction_memory},
          {"n <= 500: (6 + 1.2 n) b/N; else 9 b/N, the first step 5 k more, k = 20; with a given eta 1.5 b/N",
           inverse_correction_cost}),
      row("newton", "Newton steps from all eigenvectors of the Hessian; for small n",
          "theta <- theta - V f(l) V'g, H = V diag(l) V', f = 1/(abs(l) + lambda) or another inverse, lambda "
          "by "
          "the gain ratio",
          "Dauphin et al. 2014 for absolute values; Mishchenko 2023, Doikov & Nesterov 2023", methods::newton,
          {"n^2 (8 * 3 + bytes)", newton_memory},
          {"(1.1 + 1.5 n + t/3) b/N, t trials; at t = 1", newton_cost}),
      row("newton_cg",
          "Newton steps by conjugate gradients that follow negative curvature; for large batches",
          "theta <- theta + a p, (H + 2 eps I) p = -g by CG, or p along d with d'Hd < -eps d'd",
          "Royer, O'Neill & Wright 2020", methods::newton_cg, vectors(9, "9 n numbers"), krylov_cost(20)),
      row("newton_minres", "pseudo-inverse Newton steps by MINRES, for singular Hessians; for large batches",
          "theta <- theta + a p, p = -H^+ g by MINRES, or a residual r with r'Hr <= 0",
          "Paige & Saunders 1975; Liu & Roosta 2022; Liu, Milzarek & Roosta 2023", methods::newton_minres,
          vectors(10, "10 n numbers"), krylov_cost(20)),
      row("trust_region",
          "Newton steps by truncated conjugate gradients in a trust region; for large batches",
          "theta <- theta + p, p = argmin g'p + p'Hp/2 over norm(p) <= radius by CG, radius by the gain "
          "ratio",
          "Steihaug 1983", methods::trust_region, vectors(7, "7 n numbers"), krylov_cost(20)),
      row("cubic_newton", "Newton steps with adaptive cubic regularisation, by Lanczos; for large batches",
          "theta <- theta + p, p = argmin g'p + p'Hp/2 + sigma norm(p)^3/3 by Lanczos, sigma by the gain "
          "ratio",
          "Nesterov & Polyak 2006; Cartis, Gould & Toint 2011", methods::cubic_newton,
          vectors(105, "(krylov_dimension + 5) n numbers; at 100"), krylov_cost(20)),
  };
}

}  // namespace

namespace methods {

namespace {

template <class Options>
Method whole_steps(const char* name, const Options& options,
                   std::unique_ptr<Direction> (*make)(const Options&)) {
  options.check();
  return Method(name, [options, make](const Objective&) {
    return MethodParts{make(options), fixed_rate(), std::nullopt};
  });
}

}  // namespace

Method sgd(const SgdOptions& options) {
  return whole_steps<SgdOptions>("sgd", options, torch_sgd);
}
Method momentum(const MomentumOptions& options) {
  return whole_steps<MomentumOptions>("momentum", options, torch_sgd);
}
Method adam(const AdamOptions& options) {
  return whole_steps("adam", options, torch_adam);
}
Method adamw(const AdamWOptions& options) {
  return whole_steps("adamw", options, torch_adamw);
}
Method rmsprop(const RmspropOptions& options) {
  return whole_steps("rmsprop", options, torch_rmsprop);
}
Method muon(const MuonOptions& options) {
  return whole_steps("muon", options, muon_direction);
}
Method soap(const SoapOptions& options) {
  return whole_steps("soap", options, soap_direction);
}
Method shampoo(const ShampooOptions& options) {
  return whole_steps("shampoo", options, shampoo_direction);
}
Method adahessian(const AdahessianOptions& options) {
  return whole_steps("adahessian", options, adahessian_direction);
}
Method sophia(const SophiaOptions& options) {
  options.check();
  return Method("sophia", [options](const Objective& objective) {
    return MethodParts{sophia_direction(options, objective), fixed_rate(), std::nullopt};
  });
}

namespace {

// Goes along the direction to a point with the strong Wolfe conditions. After a failed search the direction
// forgets what it knew, and the second attempt goes along the gradient.
MethodParts with_line_search(std::unique_ptr<Direction> direction, const StrongWolfeOptions& options) {
  return {std::move(direction), strong_wolfe_rule(options), std::nullopt, 2};
}

template <class Options>
Method quasi_newton(const char* name, const Options& options, const QuasiNewtonOptions& common,
                    std::unique_ptr<Direction> (*make)(const Options&, int64_t)) {
  options.check();
  return Method(name, [options, common, make](const Objective& objective) {
    return with_line_search(make(options, objective.parameters()), common.line_search);
  });
}

}  // namespace

Method lbfgs(const LbfgsOptions& options) {
  options.check();
  return Method("lbfgs", [options](const Objective&) {
    return with_line_search(lbfgs_direction(options), options.line_search);
  });
}

Method lsr1(const Lsr1Options& options) {
  options.check();
  return Method("lsr1", [options](const Objective&) {
    return with_line_search(lsr1_direction(options), options.line_search);
  });
}

Method bfgs(const QuasiNewtonOptions& options) {
  return quasi_newton("bfgs", options, options, bfgs_direction);
}
Method dfp(const DfpOptions& options) {
  return quasi_newton("dfp", options, options.common, dfp_direction);
}
Method broyden(const BroydenOptions& options) {
  return quasi_newton("broyden", options, options.common, broyden_direction);
}
Method ssbroyden(const QuasiNewtonOptions& options) {
  return quasi_newton("ssbroyden", options, options, ssbroyden_direction);
}
Method sr1(const Sr1Options& options) {
  return quasi_newton("sr1", options, options.common, sr1_direction);
}

Method levenberg_marquardt(const LevenbergMarquardtOptions& options) {
  options.check();
  return Method("levenberg_marquardt", [options](const Objective&) {
    bool fixed = options.damping.rule == DampingRule::fixed;
    auto rule = fixed ? backtracking({.decrease = 1e-4, .factor = 0.5}) : gain_ratio();
    return MethodParts{levenberg_marquardt_direction(options), std::move(rule), Damping(options.damping),
                       fixed ? 1 : options.attempts};
  });
}

Method gauss_newton(const GaussNewtonOptions& options) {
  options.check();
  return Method("gauss_newton", [options](const Objective&) {
    return MethodParts{gauss_newton_direction(options), fixed_rate(options.learning_rate),
                       Damping({.rule = DampingRule::fixed, .initial = options.damping})};
  });
}

Method hessian_free(const HessianFreeOptions& options) {
  options.check();
  return Method("hessian_free", [options](const Objective& objective) {
    return MethodParts{hessian_free_direction(options, objective),
                       options.backtrack ? backtracking() : gain_ratio(), Damping(options.damping)};
  });
}

namespace {

template <class Options>
Method kronecker(const char* name, const Options& options,
                 std::unique_ptr<Direction> (*make)(const KfacMethodOptions&, int64_t)) {
  options.check();
  return Method(name, [options, make](const Objective& objective) {
    bool given = options.learning_rate.has_value();
    int64_t examples = objective.has_outputs() ? objective.examples() : 1;
    return MethodParts{make(options, examples), given ? fixed_rate() : gain_ratio(),
                       Damping(options.damping)};
  });
}

}  // namespace

Method kfac(const KfacMethodOptions& options) {
  return kronecker("kfac", options, kfac_direction);
}
Method ekfac(const EkfacMethodOptions& options) {
  return kronecker("ekfac", options, ekfac_direction);
}

Method inverse_correction(const InverseCorrectionOptions& options) {
  options.check();
  return Method("inverse_correction", [options](const Objective& objective) {
    auto direction = inverse_correction_direction(options, objective);
    if (!options.learning_rate)
      return MethodParts{std::move(direction), gain_ratio(0), Damping(options.damping)};
    double eta = *options.learning_rate;
    auto rule = options.line_search ? backtracking({.initial = eta, .decrease = 1e-4, .factor = 0.5})
                                    : fixed_rate(eta);
    return MethodParts{std::move(direction), std::move(rule), std::nullopt};
  });
}

Method newton(const NewtonOptions& options) {
  options.check();
  return Method("newton", [options](const Objective& objective) {
    auto direction = newton_direction(options, objective.parameters());
    if (!options.damps()) return MethodParts{std::move(direction), curvature_search(), std::nullopt};
    // Another damping is a matrix-vector product, so refused steps are tried again at once.
    return MethodParts{std::move(direction), gain_ratio(), Damping(options.damping), 20};
  });
}

Method newton_cg(const NewtonCgOptions& options) {
  options.check();
  return Method("newton_cg", [options](const Objective&) {
    return MethodParts{newton_cg_direction(options), curvature_search(), std::nullopt};
  });
}

Method newton_minres(const NewtonMinresOptions& options) {
  options.check();
  return Method("newton_minres", [options](const Objective&) {
    return MethodParts{newton_minres_direction(options), curvature_search(), std::nullopt};
  });
}

Method trust_region(const TrustRegionOptions& options) {
  options.check();
  return Method("trust_region", [options](const Objective&) {
    return MethodParts{trust_region_direction(options), gain_ratio(), std::nullopt, 10};
  });
}

Method cubic_newton(const CubicNewtonOptions& options) {
  options.check();
  return Method("cubic_newton", [options](const Objective&) {
    return MethodParts{cubic_newton_direction(options), gain_ratio(), std::nullopt, 20};
  });
}

}  // namespace methods

const std::vector<MethodInfo>& method_table() {
  static const std::vector<MethodInfo> table = make_table();
  return table;
}

const MethodInfo& find_method(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& method : method_table()) {
    if (method.name == name) return method;
    names.push_back(method.name);
  }
  fail_usage(fmt::format("method \"{}\": unknown{}; there are {}", name, did_you_mean(name, names),
                         fmt::join(names, ", ")));
}

Method make_method(const std::string& name, const OptionMap& options) {
  return find_method(name).make(options);
}

}  // namespace osculant
