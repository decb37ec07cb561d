#include <fmt/format.h>

#include <cstdlib>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/study/matrices.h"
#include "osculant/study/run_key.h"

namespace osculant::run_keys {
namespace {

bool is_batch_size(const std::string& value) {
  return value == "full" || (!value.empty() && value.size() < 12 && value != "0" && value[0] != '0' &&
                             value.find_first_not_of("0123456789") == std::string::npos);
}

bool is_memory_budget(const std::string& value) {
  if (value == "half") return true;
  try {
    return parse_bytes("run.memory_budget", value) > 0;
  } catch (const Error&) {
    return false;
  }
}

bool is_budget(const std::string& value) {
  char* end = nullptr;
  double amount = std::strtod(value.c_str(), &end);
  std::string unit(end);
  return end != value.c_str() && amount > 0 && (unit == "s" || unit == "ge");
}

bool positive(double value) {
  return value > 0;
}
bool non_negative(double value) {
  return value >= 0;
}
bool probability(double value) {
  return value >= 0 && value <= 1;
}

std::vector<Key> model_keys() {
  using M = ModelConfig;
  const auto model = &RunConfig::model;
  return {
      text("model.kind", at(model, &M::kind), "", "\"mlp\"",
           "what network: a program exported from Python, or one built here",
           {"exported", "mlp", "autoencoder", "cnn", "resnet", "transformer"}),
      text("model.path", at(model, &M::path), "a file name", "\"m.pt2\"",
           "the exported program (torch.export.save)"),
      integers(
          "model.widths", at(model, &M::widths), "a list of integers >= 1", "[784, 256, 128, 10]",
          "mlp: units of each layer, inputs first, outputs last; autoencoder: inputs first, the code last"),
      text("model.activation", at(model, &M::activation), "the name of an activation", "\"relu\"",
           "between the layers"),
      integers("model.input", at(model, &M::input), "a list of three integers >= 1", "[1, 28, 28]",
               "cnn, resnet: channels, height and width of an image"),
      integers("model.filters", at(model, &M::filters), "a list of integers >= 1", "[16, 32]",
               "cnn: channels of each convolution; resnet: of each stage"),
      integer("model.hidden", at(model, &M::hidden), 1, "64", "cnn: units of the hidden layer"),
      integer("model.outputs", at(model, &M::outputs), 1, "10", "cnn, resnet: outputs"),
      flag("model.batch_norm", at(model, &M::batch_norm), "cnn: batch normalisation after each convolution"),
      integer("model.blocks", at(model, &M::blocks), 1, "1", "resnet: basic blocks of each stage"),
      text("model.norm", at(model, &M::norm), "", "\"group\"",
           "resnet: behind each convolution; batch norm couples the examples of a batch",
           {"group", "layer", "batch", "none"}),
      integer("model.vocabulary", at(model, &M::vocabulary), 2, "96",
              "transformer: tokens there are; left out: the characters of the text"),
      integer("model.context", at(model, &M::context), 1, "64",
              "transformer: most positions of an input; left out: those of the text's examples"),
      integer("model.width", at(model, &M::width), 1, "64", "transformer: a multiple of its heads"),
      integer("model.layers", at(model, &M::layers), 1, "2", "transformer: blocks"),
      integer("model.heads", at(model, &M::heads), 1, "4", "transformer: of the attention in each block"),
      text("model.initialization", at(model, &M::initialization), "the name of an initialisation",
           "\"torch_default\"", "torch_default, xavier, he, orthogonal, scaled"),
      number("model.weight_variance", at(model, &M::weight_variance), "a number > 0", positive, "1.0",
             "scaled: variance of a weight times the inputs of its unit"),
      number("model.bias_variance", at(model, &M::bias_variance), "a number >= 0", non_negative, "0.0",
             "scaled: variance of a bias"),
      flag("model.bias", at(model, &M::bias), "whether layers have biases"),
      texts("model.freeze", at(model, &M::freeze), "a list of names with * and ?", "[\"features.*\"]",
            "parameters that are not trained and not analysed, by name"),
      text("model.parameters", at(model, &M::parameters), "a file name", "\"parameters.safetensors\"",
           "weights to start from"),
      text("model.mode", at(model, &M::mode), "", "\"eval\"",
           "how dropout and batch norm behave; left out: eval for analysis, train for training",
           {"eval", "train"}),
  };
}

std::vector<Key> data_keys() {
  using D = DataConfig;
  const auto data = &RunConfig::data;
  return {
      text("data.kind", at(data, &D::kind), "", "\"fashion_mnist\"", "where examples come from",
           {"safetensors", "csv", "fashion_mnist", "idx", "text", "teacher", "mixture", "sine", "sinc",
            "parity"}),
      text("data.path", at(data, &D::path), "a file name", "\"train.safetensors\"",
           "safetensors (or torch.save's .pt): inputs and targets; csv: a table; idx: images; text: a file "
           "in UTF-8, one that Debian has if left out; fashion_mnist: its folder"),
      texts("data.target", at(data, &D::target), "a list of column names", "[\"price\"]",
            "csv: what is to be predicted; default the last column"),
      texts("data.ignore", at(data, &D::ignore), "a list of column names", "[\"id\"]",
            "csv: columns left out"),
      flag("data.classes", at(data, &D::classes),
           "csv: the target is a class, its entries names; default where the loss is cross_entropy"),
      integer("data.context", at(data, &D::context), 1, "64", "text: characters of an example"),
      integer("data.stride", at(data, &D::stride), 1, "64",
              "text: from the start of one example to that of the next; left out: data.context"),
      text("data.labels", at(data, &D::labels), "a file name", "\"labels.gz\"", "idx: the file of labels"),
      text("data.test", at(data, &D::test), "\"split\" or a file name", "\"split\"",
           "test data: \"split\" is the data set's own; a file; none if left out"),
      text("data.test_labels", at(data, &D::test_labels), "a file name", "\"test-labels.gz\"",
           "idx: the labels of the test file"),
      number("data.scale", at(data, &D::scale), "a number > 0", positive, "255.0",
             "inputs are divided by this"),
      flag("data.normalize", at(data, &D::normalize),
           "inputs to mean 0 and standard deviation 1 over the training set"),
      integer("data.average_pool", at(data, &D::average_pool), 1, "2", "images: means of 2 x 2 pixels"),
      flag("data.flatten", at(data, &D::flatten),
           "inputs to one vector an example; left out: where the network needs it"),
      flag("data.autoencode", at(data, &D::autoencode), "targets are the inputs"),
      flag("data.shuffle", at(data, &D::shuffle), "shuffle by the run's seed before taking examples"),
      integer("data.take", at(data, &D::take), 1, "5000", "only the first so many training examples"),
      integer("data.test_take", at(data, &D::test_take), 1, "1000", "only the first so many test examples"),
      number("data.test_share", at(data, &D::test_share), "a number between 0 and 1", probability, "0.2",
             "test = \"split\": this share of the examples, the last ones"),
      integer("data.examples", at(data, &D::examples), 1, "1000",
              "teacher, mixture, sine, sinc: examples made"),
      integer("data.inputs", at(data, &D::inputs), 1, "10", "teacher, mixture, parity: inputs of an example"),
      integer("data.outputs", at(data, &D::outputs), 1, "1", "teacher: outputs; mixture: classes"),
      integer("data.hidden", at(data, &D::hidden), 1, "20", "teacher: its hidden units"),
      number("data.noise", at(data, &D::noise), "a number >= 0", non_negative, "0.0",
             "teacher: standard deviation of the noise added"),
      number("data.separation", at(data, &D::separation), "a number >= 0", non_negative, "2.0",
             "mixture: distance of the classes"),
  };
}

std::vector<Key> loss_keys() {
  using L = LossConfig;
  const auto loss = &RunConfig::loss;
  return {
      text("loss.kind", at(loss, &L::kind), "", "\"cross_entropy\"", "what is minimised",
           {"mse", "cross_entropy", "binary_cross_entropy", "huber", "poisson"}),
      text("loss.outputs", at(loss, &L::outputs), "", "\"mean\"",
           "mean over an example's outputs, as torch has it, or their sum", {"mean", "sum"}),
      number("loss.label_smoothing", at(loss, &L::label_smoothing), "a number between 0 and 1", probability,
             "0.1", "cross_entropy"),
      numbers("loss.class_weights", at(loss, &L::class_weights), "a list of numbers >= 0", "[1.0, 2.0]",
              "cross_entropy: one a class"),
      number("loss.delta", at(loss, &L::delta), "a number > 0", positive, "1.0",
             "huber: where it turns linear"),
      texts("metrics.names", [](auto& config) -> auto& { return config.metrics; },
            "a list of accuracy, squared_error, relative_l2", "[\"accuracy\"]",
            "measured beside the loss, on training and test data",
            {"accuracy", "squared_error", "relative_l2"}),
  };
}

std::vector<Key> train_keys() {
  using T = TrainConfig;
  const auto train = &RunConfig::train;
  return {
      text("train.method", at(train, &T::method), "the name of a method (osculant methods)",
           "\"hessian_free\"", "see: osculant methods"),
      number_or_text("train.batch_size", at(train, &T::batch_size), "an integer >= 1 or \"full\"",
                     is_batch_size, "256",
                     "examples a step; left out: 256, or all of them when there are no more than 2,048"),
      integer("train.steps", at(train, &T::steps), 1, "1000", "stop after so many steps"),
      integer("train.epochs", at(train, &T::epochs), 1, "10", "stop after so many passes over the data"),
      number_or_text("train.budget", at(train, &T::budget),
                     "seconds as \"60s\" or gradient equivalents as \"500ge\"", is_budget, "\"60s\"",
                     "stop after so much time or work"),
      text("train.target", at(train, &T::target), "a comparison such as \"loss<=1e-4\"",
           "\"test.accuracy>=0.88\"", "stop when reached"),
      number("train.gradient_norm", at(train, &T::gradient_norm), "a number > 0", positive, "1e-6",
             "stop when the gradient of the step's batch has this norm or less"),
      number("train.require_psd", at(train, &T::require_psd), "a number > 0", positive, "1e-3",
             "say at the end whether the Hessian's smallest eigenvalue is >= minus this; with gradient_norm, "
             "leave points where it is not"),
      integer("train.evaluate_every", at(train, &T::evaluate_every), 1, "100",
              "steps between evaluations of the whole objective; left out: an epoch"),
      integer("train.checkpoint_every", at(train, &T::checkpoint_every), 1, "1000",
              "steps between checkpoints; left out: 30 s of work"),
      integer("train.keep_checkpoints", at(train, &T::keep_checkpoints), 1, "3",
              "so many checkpoints are kept, the newest"),
      flag("train.watch", at(train, &T::watch),
           "look out for trouble while it trains, for at most 5 % of its work; left out: true"),
      option_table("train.options", at(train, &T::options), "{ learning_rate = 1e-3 }",
                   "of the method: osculant methods NAME"),
      number("train.weight_decay", at(train, &T::weight_decay), "a number >= 0", non_negative, "1e-4",
             "adds this times theta^2 / 2 to the objective"),
      texts("train.weight_decays", at(train, &T::weight_decays),
            "a list of \"name=number\", names with * and ?", "[\"*.bias=0\"]",
            "weight decay of parameters by name; the last that matches counts"),
      texts("train.regularizers", at(train, &T::regularizers), "a list of regularisers with their options",
            "[\"gradient_norm:strength=0.01\"]",
            "penalties on gradient and curvature, added to the objective: docs/regularizers.md"),
      texts("train.learning_rates", at(train, &T::learning_rates),
            "a list of \"name=number\", names with * and ?", "[\"*.bias=2\"]",
            "times the method's learning rate, of parameters by name"),
      number("train.clip_gradient_norm", at(train, &T::clip_gradient_norm), "a number > 0", positive, "1.0",
             "longer gradients are followed at this length"),
      number("train.sharpness_radius", at(train, &T::sharpness_radius), "a number > 0", positive, "0.05",
             "sharpness-aware steps: gradients are those at this distance uphill"),
      number("train.averaging", at(train, &T::averaging), "a number from 0 to 1", probability, "0.99",
             "decay of an average of the iterates, which is what is evaluated and kept; 1: their mean"),
      text("train.schedule", at(train, &T::schedule), "", "\"cosine\"",
           "of the learning rate, over train.steps or train.epochs",
           {"constant", "cosine", "linear", "step"}),
      integer("train.warmup", at(train, &T::warmup), 0, "100",
              "steps over which the learning rate rises from 0"),
      integer("train.schedule_every", at(train, &T::schedule_every), 1, "1000", "step: steps between falls"),
      number("train.schedule_factor", at(train, &T::schedule_factor), "a number > 0", positive, "0.1",
             "step: what it falls by; left out: 0.1"),
      number("train.schedule_final", at(train, &T::schedule_final), "a number from 0 to 1", probability,
             "0.0", "cosine, linear: share of the learning rate at the end; left out: 0"),
  };
}

std::vector<Key> compare_keys() {
  using C = CompareConfig;
  const auto compare = &RunConfig::compare;
  return {
      texts("compare.methods", at(compare, &C::methods), "a list of methods",
            "[\"adam\", \"hessian_free:batch_size=full\"]",
            "who races, each with options of its own: \"sgd:learning_rate=0.1,weight_decay=1e-4\""),
      integer("compare.seeds", at(compare, &C::seeds), 1, "3", "runs of each method, from this many seeds"),
      integer("compare.tune", at(compare, &C::tune), 0, "5", "trials to tune each method before; 0: none"),
      number(
          "compare.tuning_share", at(compare, &C::tuning_share), "a number in (0, 1]",
          [](double value) { return value > 0 && value <= 1; }, "0.25",
          "of the budget, for each of these trials"),
  };
}

std::vector<Key> analyze_and_run_keys() {
  using A = AnalyzeConfig;
  using R = RunSettings;
  using V = AdviseConfig;
  const auto analyze = &RunConfig::analyze;
  const auto advise = &RunConfig::advise;
  const auto run = &RunConfig::run;
  return {
      integer("analyze.eigenvalues", at(analyze, &A::eigenvalues), 0, "10",
              "so many at each end of the spectrum"),
      texts("analyze.matrix", at(analyze, &A::matrix),
            fmt::format("a list of {}", fmt::join(matrix_names(), ", ")), "[\"hessian\"]",
            "which curvature matrices", matrix_names()),
      integer("analyze.fisher_draws", at(analyze, &A::fisher_draws), 1, "1",
              "sampled_fisher: targets drawn for each example"),
      flag("analyze.alignment", at(analyze, &A::alignment),
           "where the gradient lies among the eigenvectors, and the curvature along it"),
      integer("analyze.slices", at(analyze, &A::slices), 0, "1",
              "the objective along so many eigenvectors of each end"),
      integer("analyze.slice_planes", at(analyze, &A::slice_planes), 0, "1",
              "and over so many random planes"),
      integer("analyze.slice_points", at(analyze, &A::slice_points), 3, "21", "on a line; odd"),
      integer("analyze.plane_points", at(analyze, &A::plane_points), 3, "11", "on an axis of a plane; odd"),
      number("analyze.slice_radius", at(analyze, &A::slice_radius), "a number > 0", positive, "0.1",
             "of slices; default: where the quadratic model differs by the objective's value"),
      text("analyze.slice_normalization", at(analyze, &A::slice_normalization), "", "\"filter\"",
           "of random planes: each part of a direction as large as the network's",
           {"none", "layer", "filter"}),
      flag("analyze.sampling_error", at(analyze, &A::sampling_error),
           "how far eigenvalues and trace are from those of more data, by parts of the examples"),
      number_or_text("analyze.batch_size", at(analyze, &A::batch_size), "an integer >= 1 or \"full\"",
                     is_batch_size, "1024",
                     "examples worked on at a time; all the data counts, whatever this is"),
      number("analyze.tolerance", at(analyze, &A::tolerance), "a number > 0", positive, "1e-3",
             "eigenvalues: residual wanted, relative to the largest in magnitude"),
      integer(
          "analyze.check_products", at(analyze, &A::check_products), 0, "100",
          "most products spent on looking for missed eigenvalues; 0: none, and what was missed is unknown"),
      integer("analyze.trace_probes", at(analyze, &A::trace_probes), 3, "100",
              "most products spent on the trace"),
      flag("analyze.density", at(analyze, &A::density), "the density of all eigenvalues"),
      flag("analyze.rank", at(analyze, &A::rank), "numerical, stable and effective rank"),
      integer("analyze.quadrature_steps", at(analyze, &A::quadrature_steps), 2, "60",
              "density and rank: Lanczos steps from each probe"),
      integer("analyze.quadrature_probes", at(analyze, &A::quadrature_probes), 2, "10",
              "density and rank: random probes"),
      number(
          "analyze.rank_threshold", at(analyze, &A::rank_threshold), "a number in (0, 1)",
          [](double value) { return value > 0 && value < 1; }, "1e-5",
          "eigenvalues count that exceed it times the largest in magnitude; default max(n u, 1e-9 or 1e-5)"),
      flag("analyze.rank_layers", at(analyze, &A::rank_layers),
           "rank: that of each layer's own block too; left out: true"),
      flag("analyze.sparsity", at(analyze, &A::sparsity),
           "norms of the blocks of layers, structure, share of negligible entries"),
      integer("analyze.sparsity_products", at(analyze, &A::sparsity_products), 1, "200",
              "sparsity: most products spent on norms, 4 or more for each layer"),
      integer("analyze.sparsity_columns", at(analyze, &A::sparsity_columns), 2, "60",
              "sparsity: random columns computed"),
      number("analyze.sparsity_threshold", at(analyze, &A::sparsity_threshold), "a number > 0", positive,
             "1e-3", "sparsity: negligible entries are at most this times the scale"),
      integer("analyze.low_rank", at(analyze, &A::low_rank), 0, "20",
              "errors of low-rank approximations of rank 0 to this; 0: none"),
      number(
          "analyze.low_rank_error", at(analyze, &A::low_rank_error), "a number in (0, 1)",
          [](double value) { return value > 0 && value < 1; }, "0.1",
          "low rank: relative error for which the smallest rank is told"),
      flag("analyze.gradient_flow", at(analyze, &A::gradient_flow),
           "how signals get through the layers and gradients back"),
      flag("analyze.full", at(analyze, &A::full), "all measurements that are not set otherwise"),
      text("analyze.through", at(analyze, &A::through), "", "\"runs/training\"",
           "at every checkpoint there: the ends of the spectrum, stable rank and gradient flow"),
      text("analyze.start_from", at(analyze, &A::start_from), "", "\"runs/earlier\"",
           "begin with the eigenpairs that another analysis kept"),
      flag("analyze.keep_eigenpairs", at(analyze, &A::keep_eigenpairs), "leave them in the results"),
      flag("advise.race", at(advise, &V::race), "race the methods that the advice puts first"),
      integer("advise.candidates", at(advise, &V::candidates), 2, "5",
              "methods in that race, each with three values of what it is tuned by"),
      flag("advise.write_init", at(advise, &V::write_init),
           "leave a critical initialisation in the results, also where this one works"),
      integer("run.seed", at(run, &R::seed), 0, "0", "of everything random"),
      text("run.dtype", at(run, &R::dtype), "", "\"float32\"", "of parameters, inputs and curvature",
           {"float32", "float64"}),
      text("run.device", at(run, &R::device), "a device such as cpu or cuda:0", "\"cpu\"",
           "cpu, cuda, cuda:1"),
      integer("run.threads", at(run, &R::threads), 0, "0", "0: all"),
      number_or_text("run.memory_budget", at(run, &R::memory_budget), "\"half\" or a size such as \"2GiB\"",
                     is_memory_budget, "\"half\"", "half of what is free, or a size"),
      text("run.out", at(run, &R::out), "a folder", "\"runs/first\"", "where the results go"),
  };
}

}  // namespace

const std::vector<Key>& keys() {
  static const std::vector<Key> all = [] {
    std::vector<Key> table;
    for (auto section :
         {model_keys(), data_keys(), loss_keys(), train_keys(), compare_keys(), analyze_and_run_keys()})
      for (auto& key : section) table.push_back(std::move(key));
    return table;
  }();
  return all;
}

}  // namespace osculant::run_keys
