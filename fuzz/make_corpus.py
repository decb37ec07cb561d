"""Writes the seed corpus: fuzz/corpus/TARGET/. Needs a Python with torch: .venv/bin/python fuzz/make_corpus.py [TOOL]

Small files that the readers take, and some that they once did not: those are kept under names that begin with
`crash-` and are left alone. With the path of the command line tool, results of small runs as well.
"""

import gzip
import io
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

import torch

ROOT = pathlib.Path(__file__).resolve().parent / "corpus"


def write(target, name, content):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


class Dense(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2)
        self.drop = torch.nn.Dropout(0.25)

    def forward(self, x):
        return self.last(self.drop(torch.tanh(self.norm(self.first(x)))))


class Images(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 2, 3), torch.nn.GroupNorm(1, 2)

    def forward(self, x):
        y = torch.nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        with torch.no_grad():
            scale = y.abs().mean().item() + 1
        return torch.cat([y.flatten(1), y.flatten(1) / scale], 1)


class Tokens(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 4)
        self.attention = torch.nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = torch.nn.LSTM(4, 2, batch_first=True)

    def forward(self, x):
        e = self.embedding(x)
        a, _ = self.attention(e, e, e, need_weights=False)
        return self.last(a)[0].reshape(x.shape[0], x.shape[1] * 2).view(-1, 2)


def drop_metadata(value):
    """Of nodes: what they were in the source, with its paths."""
    if isinstance(value, dict):
        if "metadata" in value:
            value["metadata"] = {}
        value = list(value.values())
    for part in value if isinstance(value, list) else []:
        drop_metadata(part)


def programs():
    batch = torch.export.Dim("batch", min=2, max=64)
    for name, module, x in (
        ("dense", Dense(), torch.zeros(4, 2)),
        ("images", Images(), torch.zeros(4, 1, 6, 6)),
        ("tokens", Tokens(), torch.zeros(4, 3, dtype=torch.long)),
    ):
        exported = torch.export.export(module, (x,), dynamic_shapes=({0: batch},))
        stream = io.BytesIO()
        torch.export.save(exported, stream)
        records = zipfile.ZipFile(io.BytesIO(stream.getvalue()))
        model = next(n for n in records.namelist() if n.endswith("models/model.json"))
        document = json.loads(records.read(model))
        drop_metadata(document)
        write("graph", name + ".json", json.dumps(document, separators=(",", ":")))
        # The archive again without the padding between records and without what is not read.
        small = io.BytesIO()
        with zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED if name == "images" else zipfile.ZIP_STORED) as out:
            for record in records.namelist():
                if record.endswith(("model.json", "config.json", "byteorder")) or "/weight_" in record:
                    out.writestr(record, json.dumps(document) if record == model else records.read(record))
        write("program", name + ".pt2", small.getvalue())


def tensors():
    x, y = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1])
    contents = {"inputs": x, "targets": y, "weights": x.t()[0]}
    stream = io.BytesIO()
    torch.save(contents, stream)
    write("torch_file", "dict.pt", stream.getvalue())
    write("torch_pickle", "dict.pkl", zipfile.ZipFile(stream).read("archive/data.pkl"))
    stream = io.BytesIO()
    torch.save(torch.nn.BatchNorm1d(2).state_dict(), stream)
    write("torch_file", "state.pt", stream.getvalue())
    write("torch_pickle", "state.pkl", zipfile.ZipFile(stream).read("archive/data.pkl"))
    stream = io.BytesIO()
    torch.save({"p": torch.nn.Parameter(x), "b": torch.tensor([True, False])}, stream)
    write("torch_pickle", "parameter.pkl", zipfile.ZipFile(stream).read("archive/data.pkl"))
    header = {
        "inputs": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]},
        "targets": {"dtype": "I64", "shape": [3], "data_offsets": [24, 48]},
        "__metadata__": {"osculant.archive": "{}"},
    }
    text = json.dumps(header)
    raw = x.numpy().tobytes() + y.numpy().tobytes()
    write("safetensors", "data.safetensors", struct.pack("<Q", len(text)) + text.encode() + raw)
    values = {"n": {"number": 1.5}, "i": {"integer": 3}, "f": {"flag": True}, "t": {"text": "x"}, "l": {"numbers": [1, "nan", "-inf"]}, "w": {"texts": ["a", "b"]}}
    write("checkpoint", "all.json", json.dumps({"kind": "osculant checkpoint", "version": 1, "values": values}))
    images = struct.pack(">HBBII", 0, 8, 2, 2, 3) + bytes(range(6))
    write("idx", "bytes.idx", images)
    write("idx", "bytes.idx.gz", gzip.compress(images, mtime=0))
    write("idx", "doubles.idx", struct.pack(">HBBIdd", 0, 0x0E, 1, 2, 0.5, -1))


def texts():
    write("csv", "numbers.csv", b'\x00id,a,y\r\n1,2,3\r\n4,-5e3,"6"\r\n')
    write("csv", "classes.csv", b'\x07id,a,y\n1,2,up\n4,5,"do""wn"\n')
    write("text", "words.txt", b"\x04\x40the quick brown fox\njumps \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 over\n")
    write("run_file", "train.toml", """[model]
kind = "mlp"
widths = [2, 16, 3]
activation = "tanh"
freeze = ["0.*"]

[data]
path = "clouds.safetensors"

[loss]
kind = "cross_entropy"
weight_decay = 1e-3

[train]
method = "adam"
steps = 100
target = "loss<=0.1"
batch_size = 16
checkpoint_every = 10

[train.options]
learning_rate = 1e-3

[run]
seed = 7
threads = 1
dtype = "float64"
""")  # fmt: skip


def results(tool):
    with tempfile.TemporaryDirectory() as folder:

        def run(*arguments):
            subprocess.run([tool, *arguments], cwd=folder, check=True, capture_output=True)

        (pathlib.Path(folder) / "xor.csv").write_text("a,b,y\n0,0,0\n0,1,1\n1,0,1\n1,1,0\n")
        problem = ["--model", "mlp:2-3-1", "--data", "xor.csv", "--loss", "mse", "--set", "data.target=y"]
        run("analyze", *problem, "--full", "--out", "a")
        run("advise", *problem, "--out", "d")
        run("train", *problem, "--method", "sgd", "--steps", "3", "--out", "t")
        run("compare", *problem, "--methods", "sgd,adam", "--budget", "5ge", "--out", "c")
        for out in "adtc":
            document = json.loads((pathlib.Path(folder) / out / "result.json").read_text())
            text = json.dumps(document, separators=(",", ":"))
            log = pathlib.Path(folder) / out / "metrics.jsonl"
            write("result", out + ".json", text + ("\n---\n" + log.read_text() if log.exists() else ""))
        line = (pathlib.Path(folder) / "c" / "contestants.jsonl").read_text().splitlines()[0]
        write("result", "contestant.json", line)


def main():
    torch.manual_seed(0)
    for folder in ROOT.glob("*"):
        for path in folder.iterdir():
            if not path.name.startswith("crash-") and (len(sys.argv) > 1 or folder.name != "result"):
                path.unlink()
    programs()
    tensors()
    texts()
    for name, choices in (("zeros", bytes(64)), ("count", bytes(range(256))), ("steps", bytes(i * 37 % 256 for i in range(200)))):
        write("operators", name, choices)
    if len(sys.argv) > 1:
        results(shutil.which(sys.argv[1]) or sys.argv[1])


if __name__ == "__main__":
    main()
