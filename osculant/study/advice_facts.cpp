#include "osculant/study/advice_facts.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/curvature/curvature.h"
#include "osculant/diagnose/data_facts.h"
#include "osculant/diagnose/noise_scale.h"
#include "osculant/model/plain_stack.h"
#include "osculant/objective/layer_factors.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/norms.h"
#include "osculant/spectrum/rank.h"
#include "osculant/study/advice_remedies.h"
#include "osculant/study/check.h"
#include "osculant/study/training_setup.h"

namespace osculant {
namespace {

constexpr int64_t data_examples = 20000, norm_probes = 20, narrow = 16;
constexpr int gradient_timings = 5;

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

IntervalRecord exactly(double value) {
  return {value, value, value};
}

// Ends and size of an objective's Hessian.
struct HessianSize {
  HessianSize(const Objective& objective, uint64_t seed) {
    Hessian H(objective);
    pairs = eigenpairs(H, {.count = 1, .target = EigenTarget::both, .tolerance = 1e-2, .seed = seed});
    if (pairs.largest().empty() || pairs.smallest().empty()) return;
    rank =
        stable_rank(frobenius_norm(H, {.probes = norm_probes, .seed = seed}, &pairs), spectral_norm(pairs));
  }
  EigenResult pairs;
  Measured rank;
};

std::string probability_words(double doubt) {
  return doubt < 1 ? format_number(doubt) : "unknown size";
}

class FactFinder {
 public:
  FactFinder(const Problem& problem, const RunConfig& config) : problem_(problem), config_(config) {}

  MeasuredFacts find() {
    CheckRecord tried = preflight(problem_);
    curved_ = tried.second_derivatives && tried.deterministic;
    mend(preflight_remedies(tried));
    modes(tried);
    sizes();
    layers();
    gradient();
    data();
    flow();
    signal();
    if (tried.deterministic && tried.independent) noise();
    if (curved_) curvature();
    return std::move(facts_);
  }

 private:
  void tell(const std::string& name, const IntervalRecord& number, const std::string& words) {
    facts_.told.push_back({name, number, words});
  }

  void mend(const std::vector<std::string>& remedies) {
    facts_.remedies.insert(facts_.remedies.end(), remedies.begin(), remedies.end());
  }

  // What can run is a matter of the mode that osculant train will be in.
  void modes(const CheckRecord& measured) {
    CheckRecord trained = preflight_in_mode(problem_, config_.model.mode != "eval");
    facts_.training.random = !trained.deterministic;
    facts_.training.coupled = !trained.independent;
    facts_.training.second_derivatives = trained.second_derivatives;
    facts_.mode_note = mode_words(problem_, config_, measured, trained);
  }

  int64_t sample_size(int64_t wanted) const {
    int64_t required = problem_.model.required_batch_size();
    return std::min(problem_.train.size(), required > 0 ? required : wanted);
  }

  Objective sample() const {
    int64_t N = problem_.train.size(), count = sample_size(advice_examples);
    Tensor places = (at::arange(count, at::kLong) * N).floor_divide(count);
    return problem_.objective(count).on(problem_.train.select(places));
  }

  void sizes() {
    TrainingFacts& t = facts_.training;
    const ParameterLayout& layout = problem_.model.layout();
    t.parameters = layout.size();
    t.examples = problem_.train.size();
    t.bytes_per_number = static_cast<int64_t>(layout.options().dtype().itemsize());
    t.memory_budget = problem_.memory_budget;
    t.least_squares = config_.loss.kind == "mse";
    Batch batch = problem_.train.range(0, sample_size(64));
    {
      torch::NoGradGuard no_grad;
      auto outputs = problem_.model.forward(batch);
      t.outputs = 0;
      for (const auto& z : outputs) t.outputs += z.numel() / batch.size();
    }
    count_matrices(layout);
    tell("parameters", exactly(static_cast<double>(t.parameters)), "that are trained");
    tell("examples", exactly(static_cast<double>(t.examples)), "to train on");
    tell("outputs", exactly(static_cast<double>(t.outputs)),
         fmt::format("of an example; with the examples {} residuals, {} for each parameter",
                     format_count(t.residuals()),
                     format_number(static_cast<double>(t.residuals()) / static_cast<double>(t.parameters))));
    tell("matrix_share", exactly(t.matrix_share),
         fmt::format("of the parameters are in matrices with at least {} rows and columns", narrow));
  }

  void count_matrices(const ParameterLayout& layout) {
    int64_t inside = 0;
    for (const auto& p : layout.parameters()) {
      if (p.shape.size() < 2) continue;
      ++facts_.training.layers;
      int64_t rows = p.shape[0], columns = p.size / std::max<int64_t>(rows, 1);
      if (std::min(rows, columns) >= narrow) inside += p.size;
    }
    facts_.training.matrix_share = static_cast<double>(inside) / static_cast<double>(layout.size());
  }

  // What layers' closed forms hold for.
  void layers() {
    if (problem_.model.couples_examples()) return;
    const ParameterLayout& layout = problem_.model.layout();
    Batch batch = problem_.train.range(0, sample_size(64));
    LayerFactors factors(problem_.objective(batch.size()), 0, batch);
    int64_t outside = 0;
    for (const auto& parameter : factors.untapped()) outside += layout.parameters()[parameter.index].size;
    std::string words =
        "of the parameters are in layers with closed forms, of which K-FAC and dense Jacobians are made";
    if (outside > 0)
      words += fmt::format("; not {}: {}", factors.untapped()[0].name, factors.untapped()[0].reason);
    tell("layers.covered", exactly(1 - static_cast<double>(outside) / static_cast<double>(layout.size())),
         words);
  }

  void gradient() {
    int64_t piece = sample_size(advised_batch_size(facts_.training));
    std::vector<double> seconds;
    for (int i = 0; i < gradient_timings; ++i) {
      GradientCost cost = measure_gradient(problem_, problem_.objective(piece));
      seconds.push_back(cost.seconds);
      facts_.training.gradient_bytes = cost.bytes;
    }
    std::sort(seconds.begin(), seconds.end());
    facts_.training.gradient_seconds = seconds[seconds.size() / 2];
    tell("gradient_seconds", {seconds[seconds.size() / 2], seconds.front(), seconds.back()},
         fmt::format("s for a gradient over all examples, from a batch of {} timed {} times: the middle, the "
                     "fastest and the slowest",
                     piece, gradient_timings));
  }

  void data() {
    int64_t count = std::min(problem_.train.size(), data_examples);
    DataFacts found = data_facts(problem_.train.range(0, count));
    mend(found.words());
    if (!std::isnan(found.leading_share))
      tell("inputs.leading_share", exactly(found.leading_share),
           fmt::format("of the inputs' second moment is in its largest eigenvalue; {} once they are centred",
                       format_number(found.centred_share)));
    if (found.classes > 0)
      tell("data.largest_class", exactly(found.largest_class),
           fmt::format("of the examples are of the largest of {} classes, {} of the smallest", found.classes,
                       format_number(found.smallest_class)));
    tell("data.duplicates", exactly(static_cast<double>(found.duplicates)),
         fmt::format("of {} examples have inputs that came before; {} contradict the first of them",
                     format_count(found.examples), format_count(found.contradictions)));
    if (!std::isnan(found.disagree.value))
      tell("data.labels_disagree", {found.disagree.value, found.disagree.low, found.disagree.high},
           fmt::format("of {} examples whose 10 nearest others agree on a label, 8 or more of them, have "
                       "another",
                       format_count(found.clear_surroundings)));
  }

  void flow() {
    facts_.flow = gradient_flow(sample());
    const GradientFlow& flow = facts_.flow;
    mend(flow_remedies(flow));
    auto ratio = [&](const char* name, const LayerRatio& found, const char* words) {
      if (!std::isnan(found.value)) tell(name, {found.value, found.low, found.high}, words);
    };
    ratio("gradient_flow.forward_ratio", flow.forward_ratio,
          "is what a layer multiplies the variance between inputs by");
    ratio("gradient_flow.backward_ratio", flow.backward_ratio,
          "is what a layer multiplies the gradient by, on its way back");
  }

  // How large batches are worth it.
  void noise() {
    Objective objective = sample();
    if (objective.examples() < 3 || problem_.train.examples().weights.defined()) return;
    NoiseScale found = noise_scale(objective);
    tell("noise_scale", {found.scale.value, found.scale.low, found.scale.high},
         fmt::format("examples in a batch have as much noise as signal in their gradient (from {})",
                     format_count(objective.examples())));
  }

  // What the theory says of a plain stack at its variances, and of its critical point, which is tried out.
  void signal() {
    PlainStack stack = plain_stack(problem_.model, problem_.train.range(0, sample_size(64)));
    Nonlinearity phi = nonlinearity(stack.activation());
    if (!stack.why_not.empty() || !phi) return;
    StackInitialization now = stack.variances();
    SignalPropagation theory = signal_propagation(phi, now);
    auto layers = static_cast<int>(stack.layers.size());
    auto gain = [&](Wiring wiring) { return format_number(gradient_gain(phi, now, wiring, layers)); };
    tell("signal.chi", {theory.chi, unknown, unknown},
         fmt::format(
             "is what a wide {} layer multiplies the squared gradient by, on its way back (mean field "
             "theory at s_w^2 = {}, s_b^2 = {}: {}); {} layers multiply the gradient by {}, with residual "
             "connections by {}, normalised by {}",
             stack.activation(), format_number(now.weight_variance), format_number(now.bias_variance),
             name_of(theory.phase), layers, gain(Wiring::plain), gain(Wiring::residual),
             gain(Wiring::normalized)));
    offer_critical(stack);
  }

  void offer_critical(const PlainStack& stack) {
    ParameterLayout& layout = problem_.model.layout();
    try {
      facts_.critical = critical_parameters(problem_.model, stack, config_.seed());
    } catch (const Error&) {
      return;  // it has none
    }
    if (!nothing_gets_through(facts_.flow.verdict)) return;
    std::string ranks = rank_words();
    auto before = layout.snapshot();
    layout.assign(facts_.critical);
    GradientFlow after = gradient_flow(sample());
    if (!ranks.empty())
      ranks = fmt::format(" The Hessian's stable rank on these examples is {} before and {} after.", ranks,
                          rank_words());
    layout.restore(before);
    auto variances = critical_initialization(stack.activation())->stack;
    facts_.remedies.push_back(fmt::format(
        "Begin with the critical initialisation of {} layers, s_w^2 = {} and s_b^2 = {}{}: tried on the same "
        "examples it is {}. {}{}",
        stack.activation(), format_number(variances.weight_variance), format_number(variances.bias_variance),
        stack.activation() == "sigmoid" ? ", those of tanh in sigmoid's coordinates" : "",
        name_of(after.verdict), after.words, ranks));
  }

  // norm_F(H)^2 / norm(H)^2 with its interval; "" where there is no second derivative.
  std::string rank_words() const {
    if (!curved_) return "";
    HessianSize H(sample(), config_.seed());
    if (H.pairs.largest().empty() || std::isnan(H.rank.value)) return "unknown";
    return fmt::format("{} ({} to {})", format_number(H.rank.value), format_number(H.rank.low),
                       format_number(H.rank.high));
  }

  // Extremes and size of the sample's Hessian.
  void curvature() {
    Objective objective = sample();
    HessianSize H(objective, config_.seed());
    const EigenResult& pairs = H.pairs;
    if (pairs.largest().empty() || pairs.smallest().empty()) return;
    double largest = pairs.largest()[0].value, smallest = pairs.smallest()[0].value,
           bound = pairs.pairing_bound;
    double doubt = std::max(pairs.miss_probability(), pairs.pairing_failure_probability);
    tell("curvature.largest", {largest, largest - bound, largest + bound},
         fmt::format("is the Hessian's largest eigenvalue on {} examples{}; {}",
                     format_count(objective.examples()),
                     doubt == 0 ? "" : fmt::format(", but for a probability of {}", probability_words(doubt)),
                     stability_words(largest, bound, doubt)));
    tell("curvature.smallest", {smallest, smallest - bound, smallest + bound},
         smallest < -bound ? "is its smallest: there is negative curvature"
                           : "is its smallest: no negative curvature is certain");
    tell("curvature.stable_rank", {H.rank.value, H.rank.low, H.rank.high},
         fmt::format("is its stable rank, of {}: so many directions are about as steep as the steepest",
                     format_count(problem_.model.parameters())));
    mend(curvature_remedies({largest, smallest, bound, facts_.told.back().number,
                             objective.value_and_gradient().second.norm().item<double>()},
                            config_));
  }

  const Problem& problem_;
  const RunConfig& config_;
  bool curved_ = false;  // there is a Hessian to be measured
  MeasuredFacts facts_;
};

}  // namespace

MeasuredFacts measure_facts(const Problem& problem, const RunConfig& config) {
  return FactFinder(problem, config).find();
}

}  // namespace osculant
