"""What the whole-program tests share: running the tool, and writing the small files it reads.

The standard library alone: the tests run wherever the tool does. OSCULANT_TOOL names the tool.
"""

import json
import math
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest
import zipfile

TOOL = os.environ["OSCULANT_TOOL"]
# AddressSanitizer takes more memory for itself than a test can forbid.
SANITIZED = b"__asan_init" in pathlib.Path(TOOL).read_bytes()
FORMATS = {"F32": "f", "F64": "d", "I64": "q", "U8": "B"}

DONE, BUG, USAGE, DATA, MEMORY, NUMERICAL, WRITE = range(7)


def flatten(values):
    if isinstance(values, (list, tuple)):
        return [entry for value in values for entry in flatten(value)]
    return [values]


def shape_of(values):
    shape = []
    while isinstance(values, (list, tuple)):
        shape.append(len(values))
        values = values[0] if values else 0
    return shape


def write_safetensors(path, tensors):
    """tensors: name -> (dtype, nested lists), or (dtype, flat list, shape)."""
    header, blob = {}, b""
    for name, (dtype, values, *shape) in tensors.items():
        flat = flatten(values)
        raw = struct.pack(f"<{len(flat)}{FORMATS[dtype]}", *flat)
        header[name] = {
            "dtype": dtype,
            "shape": shape[0] if shape else shape_of(values),
            "data_offsets": [len(blob), len(blob) + len(raw)],
        }
        blob += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + blob)


def read_safetensors(path):
    """name -> (shape, flat list)."""
    raw = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        code = FORMATS[entry["dtype"]]
        tensors[name] = (entry["shape"], list(struct.unpack(f"<{(end - begin) // struct.calcsize(code)}{code}", raw[begin:end])))
    return tensors


def write_linear_program(path, weight, bias, batch=None, dtypes=("F32", "F32"), names=("fc.weight", "fc.bias")):
    """An exported program, as torch.export.save writes it, of y = x W' + b; batch: the only size it accepts."""
    codes = {"F32": 7, "F64": 8}
    rows, columns = len(weight), len(weight[0])
    size = {"as_int": batch} if batch else {"as_expr": {"expr_str": "Symbol('s77', positive=True, integer=True)", "hint": {"as_int": 4}}}

    def meta(dtype, sizes, strides, requires_grad):
        return {
            "dtype": codes[dtype],
            "sizes": sizes,
            "requires_grad": requires_grad,
            "device": {"type": "cpu", "index": None},
            "strides": [{"as_int": stride} for stride in strides],
            "storage_offset": {"as_int": 0},
            "layout": 7,
        }

    def tensor(name):
        return {"as_tensor": {"name": name}}

    metas = {
        "p_fc_weight": meta(dtypes[0], [{"as_int": rows}, {"as_int": columns}], [columns, 1], True),
        "p_fc_bias": meta(dtypes[1], [{"as_int": rows}], [1], True),
        "x": meta(dtypes[0], [size, {"as_int": columns}], [columns, 1], False),
        "linear": meta(dtypes[0], [size, {"as_int": rows}], [rows, 1], False),
    }
    node = {
        "target": "torch.ops.aten.linear.default",
        "inputs": [
            {"name": "input", "arg": tensor("x"), "kind": 1},
            {"name": "weight", "arg": tensor("p_fc_weight"), "kind": 1},
            {"name": "bias", "arg": tensor("p_fc_bias"), "kind": 1},
        ],
        "outputs": [tensor("linear")],
        "metadata": {"nn_module_stack": "L__self__,,M;L__self__fc,fc,torch.nn.modules.linear.Linear"},
        "is_hop_single_tensor_return": None,
        "name": "linear",
    }
    parameters = list(zip(("p_fc_weight", "p_fc_bias"), names))
    program = {
        "graph_module": {
            "graph": {
                "inputs": [tensor("p_fc_weight"), tensor("p_fc_bias"), tensor("x")],
                "outputs": [tensor("linear")],
                "nodes": [node],
                "tensor_values": metas,
                "sym_int_values": {},
                "sym_bool_values": {},
                "is_single_tensor_return": False,
                "custom_obj_values": {},
                "sym_float_values": {},
            },
            "signature": {
                "input_specs": [{"parameter": {"arg": {"name": name}, "parameter_name": full}} for name, full in parameters]
                + [{"user_input": {"arg": tensor("x")}}],
                "output_specs": [{"user_output": {"arg": tensor("linear")}}],
            },
            "module_call_graph": [],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": {"aten": 10},
        "range_constraints": {} if batch else {"s77": {"min_val": 1, "max_val": None}},
        "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"],
        "torch_version": "2.13.0",
        "guards_code": [],
    }
    config = {
        "config": {
            full: {"path_name": f"weight_{i}", "is_param": True, "use_pickle": False, "tensor_meta": metas[name]}
            for i, (name, full) in enumerate(parameters)
        }
    }
    raw = [struct.pack(f"<{len(flatten(v))}{FORMATS[d]}", *flatten(v)) for v, d in zip((weight, bias), dtypes)]
    files = {
        "archive_format": b"pt2",
        "archive_version": b"0",
        "byteorder": b"little",
        "models/model.json": json.dumps(program).encode(),
        "data/weights/model_weights_config.json": json.dumps(config).encode(),
        "data/weights/weight_0": raw[0],
        "data/weights/weight_1": raw[1],
        "data/constants/model_constants_config.json": b'{"config": {}}',
        ".data/version": b"3\n",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(f"m/{name}", content)


class CliTest(unittest.TestCase):
    """A test with a folder of its own, in which the tool runs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="osculant_cli_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI_"))}
        self.environment["OMP_NUM_THREADS"] = "1"

    def start(self, *arguments, **keywords):
        environment = dict(self.environment, **keywords.pop("env", {}))
        return subprocess.Popen(
            [TOOL, *map(str, arguments)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **keywords,
        )

    def tool(self, *arguments, code=DONE, **keywords):
        """Runs the tool to its end and checks its exit code; returns stdout and stderr."""
        process = self.start(*arguments, **keywords)
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, code, f"osculant {' '.join(map(str, arguments))}\n{out}\n{err}")
        return out, err

    def refused(self, code, *arguments, says, **keywords):
        """Runs the tool, which must end with `code` and a message that holds every text of `says`."""
        out, err = self.tool(*arguments, code=code, **keywords)
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, err)
        self.assertEqual(out, "")
        return err

    def tool_json(self, *arguments, **keywords):
        out, _ = self.tool(*arguments, "--json", **keywords)
        return json.loads(out)

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return name

    # A linear problem with known answers: inputs (+-1, +-3), two of each, y = 2 x1 - x2 + 0.5. With the mean
    # squared error the Hessian in (w1, w2, b) is 2 diag(1, 9, 1) wherever the parameters are.
    def linear_problem(self, weight=(0.0, 0.0), bias=0.0):
        inputs = [[a, 3.0 * b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)] * 2
        targets = [[2 * x - y + 0.5] for x, y in inputs]
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", inputs), "targets": ("F32", targets)})
        write_linear_program(self.folder / "m.pt2", [list(weight)], [bias])
        return ["--model", "m.pt2", "--data", "train.safetensors", "--loss", "mse"]

    # Points of three Gaussian clouds in the plane.
    def cloud_problem(self, examples=120, seed=0):
        rng = random.Random(seed)
        inputs, targets = [], []
        for i in range(examples):
            angle = 2 * math.pi * (i % 3) / 3
            inputs.append([2 * math.cos(angle) + rng.gauss(0, 0.5), 2 * math.sin(angle) + rng.gauss(0, 0.5)])
            targets.append(i % 3)
        write_safetensors(self.folder / "clouds.safetensors", {"inputs": ("F32", inputs), "targets": ("I64", targets)})
        return ["--model", "mlp:2-16-3", "--data", "clouds.safetensors", "--loss", "cross_entropy"]
