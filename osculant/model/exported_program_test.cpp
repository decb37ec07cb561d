#include "osculant/model/exported_program.h"

#include <caffe2/serialize/inline_container.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "osculant/base/error.h"
#include "osculant/io/safetensors.h"
#include "osculant/model/exported_operators.h"
#include "osculant/model/exported_symbolic.h"
#include "osculant/model/layer_taps.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

std::string error_of(ErrorKind kind, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "nothing thrown";
}

class Exported : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("OSCULANT_ORACLE_CASES");
    cases_ = folder ? folder : "";
    if (!fs::exists(cases_ / "stamp"))
      GTEST_SKIP() << "OSCULANT_PYTHON has no torch, so there are no programs";
    work_ =
        fs::temp_directory_path() /
        ("osculant_exported_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::create_directories(work_);
  }
  void TearDown() override {
    if (!work_.empty()) fs::remove_all(work_);
  }

  std::string program(const std::string& name) const { return cases_ / name / "model.pt2"; }
  Safetensors reference(const std::string& name) const {
    return load_safetensors(cases_ / name / "reference.safetensors");
  }
  Safetensors data(const std::string& name) const {
    return load_safetensors(cases_ / name / "data.safetensors");
  }

  // A copy of a good program with some of its records changed.
  using Change = std::function<void(const std::string& record, std::string& content)>;
  std::string changed(const std::string& name, const Change& change) const {
    std::string path = work_ / "changed.pt2";
    caffe2::serialize::PyTorchStreamReader reader(program(name));
    caffe2::serialize::PyTorchStreamWriter writer(path);
    for (const auto& record : reader.getAllRecords()) {
      if (record.starts_with(".data/")) continue;
      auto [bytes, size] = reader.getRecord(record);
      std::string content(static_cast<const char*>(bytes.get()), size);
      change(record, content);
      writer.writeRecord(record, content.data(), content.size());
    }
    writer.writeEndOfFile();
    return path;
  }
  std::string with_json(const std::string& record, const std::function<void(json&)>& change,
                        const std::string& name = "mlp_mse") const {
    return changed(name, [&](const std::string& at, std::string& content) {
      if (at != record) return;
      auto document = json::parse(content);
      change(document);
      content = document.dump();
    });
  }

  fs::path cases_, work_;
};

constexpr const char* graph_record = "models/model.json";
constexpr const char* weights_record = "data/weights/model_weights_config.json";

json& nodes(json& document) {
  return document["graph_module"]["graph"]["nodes"];
}

TEST_F(Exported, OutputsAreThePrograms) {
  for (const std::string name :
       {"mlp_mse", "transformer", "lstm", "gru", "cnn_eval", "cnn_train", "residual"}) {
    auto model = load_exported(program(name));
    EXPECT_EQ(model.dtype(), at::kDouble);
    auto out = model.forward(Model::Inputs{data(name).tensors[0].tensor});
    EXPECT_TRUE(at::allclose(out.at(0), reference(name).tensor("outputs.0"), 1e-11, 1e-12)) << name;
  }
}

TEST_F(Exported, SeveralInputsAndOutputsMatchedByName) {
  auto model = load_exported(program("many_parts"), {.dtype = at::kDouble});
  EXPECT_THAT(model.input_names(), testing::ElementsAre("first", "second"));
  auto first = data("many_parts").tensor("inputs.first"), second = data("many_parts").tensor("inputs.second");
  auto out = model.forward(Batch{{{"second", second}, {"first", first}}, {}, {}});
  ASSERT_EQ(out.size(), 2u);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_TRUE(
        at::allclose(out[i], reference("many_parts").tensor("outputs." + std::to_string(i)), 1e-11, 1e-12));
  EXPECT_THAT(error_of(ErrorKind::data,
                       [&] {
                         model.forward(Batch{{{"first", first}, {"third", second}}, {}, {}});
                       }),
              HasSubstr("second is missing"));
}

TEST_F(Exported, RunsInTheDtypeAskedFor) {
  auto wide = load_exported(program("lstm_float32"), {.dtype = at::kDouble});
  auto own = load_exported(program("lstm_float32"));
  EXPECT_EQ(own.dtype(), at::kFloat);
  auto x = data("lstm_float32").tensor("inputs.x");
  auto exact = reference("lstm_float32").tensor("outputs.0");
  EXPECT_LT((wide.forward(Model::Inputs{x})[0] - exact).abs().max().item<double>(), 1e-12);
  EXPECT_LT((own.forward(Model::Inputs{x.to(at::kFloat)})[0] - exact).abs().max().item<double>(), 1e-5);
  EXPECT_THAT(error_of(ErrorKind::data, [&] { own.forward(Model::Inputs{x}); }),
              HasSubstr("input x is Double"));
}

TEST_F(Exported, ModesAreSwitchedWhicheverItWasExportedIn) {
  for (const std::string name : {"cnn_train", "cnn_eval"}) {
    auto model = load_exported(program(name));
    auto x = data(name).tensor("inputs.x");
    auto before = model.buffers()[0].tensor.clone();
    model.forward(Model::Inputs{x});
    EXPECT_TRUE(at::equal(model.buffers()[0].tensor, before)) << "eval mode must not move statistics";
    EXPECT_FALSE(model.couples_examples());
    model.train();
    EXPECT_TRUE(model.couples_examples());
    auto expected = reference(name + "_training");
    auto out = model.forward(Model::Inputs{x})[0];
    EXPECT_TRUE(at::allclose(out, expected.tensor("outputs.0"), 1e-11, 1e-12)) << name;
    for (const auto& [buffer, tensor] : model.buffers()) {
      bool counts = buffer.find("running") == std::string::npos;
      if (!counts) {
        EXPECT_FALSE(
            at::equal(tensor, buffer.ends_with("mean") ? at::zeros_like(tensor) : at::ones_like(tensor)));
      }
    }
  }
  auto dropping = load_exported(program("exported_in_eval"));
  auto x = at::randn({64, 3}, at::kDouble);
  auto run = [&] { return dropping.forward(Model::Inputs{x})[0]; };
  EXPECT_TRUE(at::equal(run(), run()));
  dropping.train();
  EXPECT_FALSE(at::equal(run(), run()));
}

TEST_F(Exported, DecomposedProgramsReturnTheirStatistics) {
  auto model = load_exported(program("decomposed"));
  auto expected = reference("decomposed");
  model.train();
  auto out = model.forward(Model::Inputs{expected.tensor("x")})[0];
  EXPECT_TRUE(at::allclose(out, expected.tensor("outputs.training"), 1e-11, 1e-12));
  for (const auto& [name, tensor] : model.buffers())
    EXPECT_TRUE(at::allclose(tensor.to(at::kDouble), expected.tensor("buffer." + name), 1e-11, 1e-12))
        << name;
  model.train(false);
  out = model.forward(Model::Inputs{expected.tensor("x")})[0];
  EXPECT_TRUE(at::allclose(out, expected.tensor("outputs.eval"), 1e-11, 1e-12));
}

TEST_F(Exported, TiedWeightsAreOneParameter) {
  auto model = load_exported(program("tied"));
  EXPECT_EQ(model.parameters(), 6 * 4 + 4 * 4 + 4);
  EXPECT_EQ(model.layout().parameters()[0].name, "embedding.weight");
  auto state = model.state();
  state.push_back({"output.weight", state[0].tensor});
  model.load_state(state);  // either name, or both
}

TEST_F(Exported, AttentionHasASecondDerivative) {
  auto model = load_exported(program("transformer"));
  auto z = model.forward(Model::Inputs{data("transformer").tensor("inputs.x")})[0].square().sum();
  auto g = torch::autograd::grad({z}, model.layout().leaves(), {}, true, true);
  EXPECT_NO_THROW(torch::autograd::grad({g[0].sum()}, model.layout().leaves(), {}, false, false, true));
  EXPECT_TRUE(at::globalContext().userEnabledFlashSDP()) << "the switch is put back";
}

TEST_F(Exported, LayersAreTapped) {
  auto model = load_exported(program("mlp_mse"));
  auto x = data("mlp_mse").tensor("inputs.input");
  std::vector<LayerTap> taps;
  Tensor y;
  {
    LayerTaps seen(model.layout());
    y = model.forward(Model::Inputs{x})[0];
    taps = seen.list();
  }
  ASSERT_EQ(taps.size(), 2u);
  const auto &first = taps[0], &last = taps[1];
  auto W = model.layout().leaves();  // weight, bias, weight, bias
  EXPECT_EQ(first.parameter, "0.weight");
  Tensor z = x.matmul(W[0].t()) + W[1];
  EXPECT_TRUE(at::allclose(first.output, z, 1e-12, 1e-14));
  EXPECT_EQ(first.activation, "tanh");
  EXPECT_TRUE(at::allclose(last.input, z.tanh(), 1e-12, 1e-14));
  EXPECT_TRUE(last.output.is_same(y));
}

TEST_F(Exported, OtherSizesAreRefusedInWords) {
  auto one = load_exported(program("one_batch_size"));
  EXPECT_EQ(one.required_batch_size(), 6);
  EXPECT_THAT(error_of(ErrorKind::data,
                       [&] {
                         one.forward(Model::Inputs{at::zeros({5, 3}, at::kDouble)});
                       }),
              AllOf(HasSubstr("exactly 6 examples, got 5"), HasSubstr("dynamic_shapes")));
  auto any = load_exported(program("mlp_mse"));
  EXPECT_EQ(any.required_batch_size(), 0);
  auto message = [&](at::IntArrayRef shape) {
    return error_of(ErrorKind::data, [&] { any.forward(Model::Inputs{at::zeros(shape, at::kDouble)}); });
  };
  EXPECT_THAT(message({1, 3}), HasSubstr("2 to 1024"));
  EXPECT_THAT(message({4, 5}), HasSubstr("takes 3 in dimension 1"));
  EXPECT_THAT(message({3}), HasSubstr("2 dimensions"));
}

TEST_F(Exported, DamagedFilesAreRefused) {
  auto load = [](const std::string& path) { return error_of(ErrorKind::data, [&] { load_exported(path); }); };
  EXPECT_THAT(load(work_ / "absent.pt2"), HasSubstr("no such file"));

  std::ifstream in(program("mlp_mse"), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::string path = work_ / "damaged.pt2";
  for (size_t length : {size_t{0}, size_t{100}, bytes.size() / 2, bytes.size() - 30}) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, length);
    EXPECT_THAT(load(path), AllOf(HasSubstr("damaged.pt2"), HasSubstr("damaged or not an exported program")));
  }
  std::ofstream(path, std::ios::binary) << std::string(4096, 'x');
  EXPECT_THAT(load(path), HasSubstr("damaged.pt2"));
}

TEST_F(Exported, ClaimsAreCheckedBeforeAllocating) {
  auto with_meta = [&](const std::function<void(json&)>& change) {
    auto path = with_json(weights_record, [&](json& d) { change(d["config"]["0.weight"]["tensor_meta"]); });
    return error_of(ErrorKind::data, [&] { load_exported(path); });
  };
  auto sizes = [](int64_t a, int64_t b) { return json::array({{{"as_int", a}}, {{"as_int", b}}}); };
  const int64_t huge = int64_t{1} << 60;
  EXPECT_THAT(with_meta([&](json& m) { m["sizes"] = sizes(huge, 3); }),
              HasSubstr("reach beyond the 12 elements"));
  EXPECT_THAT(with_meta([&](json& m) { m["sizes"] = sizes(huge, huge); }), HasSubstr("reach beyond"));
  EXPECT_THAT(with_meta([&](json& m) {
                m["sizes"] = sizes(huge, 1);
                m["strides"] = sizes(0, 0);
              }),
              HasSubstr("reach beyond"));
  EXPECT_THAT(with_meta([&](json& m) { m["sizes"] = sizes(-4, 3); }), HasSubstr("negative"));
  EXPECT_THAT(with_meta([&](json& m) { m["strides"] = sizes(INT64_MAX, INT64_MAX); }),
              HasSubstr("reach beyond"));
  EXPECT_THAT(with_meta([&](json& m) { m["strides"].erase(1); }), HasSubstr("2 sizes but 1 strides"));
  EXPECT_THAT(with_meta([&](json& m) { m["storage_offset"]["as_int"] = 1; }), HasSubstr("reach beyond"));
  EXPECT_THAT(with_meta([&](json& m) { m["dtype"] = 99; }),
              AllOf(HasSubstr("changed.pt2"), HasSubstr("scalar type 99")));
}

TEST_F(Exported, GraphsThatCannotRunAreRefusedAtLoading) {
  auto with_graph = [&](const std::function<void(json&)>& change) {
    auto path = with_json(graph_record, change);
    return error_of(ErrorKind::data, [&] { load_exported(path); });
  };
  EXPECT_THAT(with_graph([](json& d) { nodes(d)[1]["target"] = "torch.ops.aten.set_.source_Storage"; }),
              AllOf(HasSubstr("node tanh"), HasSubstr("aten::set_"), HasSubstr("allowed_operators")));
  EXPECT_THAT(with_graph([](json& d) { nodes(d)[1]["target"] = "torch.ops.aten.tanh.out"; }),
              HasSubstr("not on the list"));
  EXPECT_THAT(with_graph([](json& d) { nodes(d)[1]["target"] = "os.system"; }), HasSubstr("os.system"));
  EXPECT_THAT(with_graph([](json& d) { nodes(d)[1]["inputs"][0]["arg"]["as_tensor"]["name"] = "nowhere"; }),
              HasSubstr("uses nowhere"));
  EXPECT_THAT(with_graph([](json& d) {
                nodes(d)[1]["inputs"][0]["arg"] = {{"as_string", "text"}};
              }),
              AllOf(HasSubstr("node tanh"), HasSubstr("does not fit")));
  EXPECT_THAT(with_graph([](json& d) { d["schema_version"]["major"] = 9; }), HasSubstr("version 9"));
  EXPECT_THAT(with_graph([](json& d) { d.erase("graph_module"); }), HasSubstr("has no \"graph_module\""));
  auto deep = changed("mlp_mse", [](const std::string& record, std::string& content) {
    if (record == graph_record) content = std::string(100000, '[');
  });
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_exported(deep); }), HasSubstr("nested deeper"));
}

// Bytes changed at random in the two descriptions: every outcome is a model that runs or an Error with the
// file's name, and nothing else.
TEST_F(Exported, RandomDamageIsRefusedOrHarmless) {
  std::mt19937 random(1);
  int refused = 0;
  for (int trial = 0; trial < 150; ++trial) {
    auto path = changed("many_parts", [&](const std::string& record, std::string& content) {
      if (record != (trial % 3 ? graph_record : weights_record)) return;
      for (int i = 0; i < 3; ++i)
        content[random() % content.size()] = "0123456789{}[]\",:aez-"[random() % 22];
    });
    try {
      auto model = load_exported(path);
      model.forward(Model::Inputs{at::zeros({4, 3}), at::zeros({4, 2})});
    } catch (const Error& error) {
      ++refused;
      EXPECT_THAT(error.what(), HasSubstr("changed.pt2")) << "trial " << trial;
    }
  }
  EXPECT_GT(refused, 75);
}

TEST_F(Exported, CallsThatWouldReachBeyondTheirTensorsAreRefused) {
  auto alias = with_json(graph_record, [](json& d) {
    nodes(d)[1]["target"] = "torch.ops.aten._reshape_alias.default";
    nodes(d)[1]["inputs"].push_back({{"name", "size"}, {"arg", {{"as_ints", {1000000}}}}, {"kind", 1}});
    nodes(d)[1]["inputs"].push_back({{"name", "stride"}, {"arg", {{"as_ints", {1}}}}, {"kind", 1}});
  });
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_exported(alias); }),
              HasSubstr("aten::_reshape_alias is not on the list"));
}

TEST_F(Exported, NumbersAreTensorsOnlyWherePythonTakesThemSo) {
  auto with_call = [&](const std::string& target, const json& inputs) {
    auto path = with_json(graph_record, [&](json& d) {
      nodes(d)[1]["target"] = "torch.ops.aten." + target;
      auto x = nodes(d)[1]["inputs"][0]["arg"];
      nodes(d)[1]["inputs"] = json::array();
      for (const auto& [name, value] : inputs.items())
        nodes(d)[1]["inputs"].push_back({{"name", name}, {"arg", value.is_null() ? x : value}, {"kind", 1}});
    });
    return error_of(ErrorKind::data, [&] { load_exported(path); });
  };
  const json two{{"as_float", 2.0}}, seven{{"as_int", 7}}, x;
  EXPECT_EQ(with_call("add.Tensor", {{"self", x}, {"other", two}}), "nothing thrown");
  // This one reads 8 bytes where there are 4.
  EXPECT_THAT(with_call("sum.dim_IntList", {{"self", two}, {"dim", {{"as_none", true}}}}),
              HasSubstr("argument self does not fit the operator, which takes Tensor"));
  EXPECT_THAT(with_call("add_.Tensor", {{"self", two}, {"other", two}}), HasSubstr("argument self"));
  EXPECT_EQ(with_call("sum.default", {{"self", x}, {"dtype", {{"as_scalar_type", 7}}}}), "nothing thrown");
  EXPECT_THAT(with_call("sum.default", {{"self", x}, {"dtype", seven}}),
              HasSubstr("argument dtype does not fit the operator, which takes ScalarType"));
  EXPECT_THAT(with_call("empty_like.default", {{"self", x}, {"layout", seven}}), HasSubstr("takes Layout"));
  EXPECT_THAT(with_call("clone.default", {{"self", x}, {"memory_format", seven}}),
              HasSubstr("takes MemoryFormat"));
  EXPECT_THAT(
      with_call("_to_copy.default", {{"self", x}, {"dtype", {{"as_sym_int", {{"as_name", "linear"}}}}}}),
      HasSubstr("dtype"));
}

TEST_F(Exported, OutputsThatAreNoTensorsAreRefused) {
  auto path = with_json(graph_record, [](json& d) {
    auto& node = nodes(d)[1];
    node["target"] = "torch.ops.aten.numel.default";
    d["graph_module"]["graph"]["outputs"][0] = node["outputs"][0];
    d["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"] = node["outputs"][0];
    nodes(d).erase(nodes(d).begin() + 2, nodes(d).end());
  });
  EXPECT_THAT(error_of(ErrorKind::data,
                       [&] {
                         load_exported(path).forward(Model::Inputs{at::zeros({5, 3}, at::kDouble)});
                       }),
              HasSubstr("an output is no tensor"));
}

TEST_F(Exported, OperatorsCanBeAllowed) {
  auto path = with_json(graph_record, [](json& d) { nodes(d)[1]["target"] = "torch.ops.aten.i0.default"; });
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_exported(path); }), HasSubstr("aten::i0"));
  EXPECT_EQ(load_exported(path, {.allowed_operators = {"aten::i0"}}).parameters(), 3 * 4 + 4 + 4 * 3 + 3);
}

TEST_F(Exported, ErrorsWhileRunningNameTheNode) {
  auto path = with_json(graph_record, [](json& d) { nodes(d)[1]["target"] = "torch.ops.aten.t.default"; });
  auto model = load_exported(path);
  EXPECT_THAT(error_of(ErrorKind::data,
                       [&] {
                         model.forward(Model::Inputs{at::zeros({5, 3}, at::kDouble)});
                       }),
              AllOf(HasSubstr("changed.pt2: node linear_1"), HasSubstr("aten.linear")));
}

TEST(ExportedOperators, ListsNamesAndNoMore) {
  for (const char* name : {"aten::linear", "aten::lstm", "aten::scaled_dot_product_attention"})
    EXPECT_TRUE(exported::is_allowed(name)) << name;
  for (const char* name :
       {"aten::set_", "aten::resize_", "aten::from_file", "aten::_foobar", "quantized::linear"})
    EXPECT_FALSE(exported::is_allowed(name)) << name;
}

TEST(ExportedSymbolic, CountsAsPythonDoes) {
  auto call = [](const char* name, int64_t a, int64_t b) {
    return exported::symbolic_function(name)({a, b});
  };
  EXPECT_EQ(call("_operator.floordiv", -7, 2).toInt(), -4);
  EXPECT_EQ(call("_operator.mod", -7, 2).toInt(), 1);
  EXPECT_EQ(call("_operator.pow", 3, 4).toInt(), 81);
  EXPECT_EQ(call("_operator.truediv", 7, 2).toDouble(), 3.5);
  EXPECT_TRUE(call("_operator.le", 2, 2).toBool());
  EXPECT_EQ(call("torch.sym_max", 2, 5).toInt(), 5);
  EXPECT_THROW(call("_operator.mul", INT64_MAX, 2), Error);
  EXPECT_THROW(call("_operator.floordiv", 1, 0), Error);
  EXPECT_EQ(exported::symbolic_function("os.system"), nullptr);
}

}  // namespace
}  // namespace osculant
