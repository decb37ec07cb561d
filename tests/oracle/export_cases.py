"""Exports small networks and writes what Python's autograd says about them: the oracle of tests/oracle_test.cpp
and osculant/model/exported_program_test.cpp.

    python export_cases.py OUT

One folder a case: model.pt2, data.safetensors, reference.safetensors, case.json. References are computed in
float64 by torch.func where it can (dense Hessian of the small feed-forward networks) and by double backward,
row by row, where it cannot (LSTM, GRU, attention); both where both can, and then they must agree. Fisher matrices come
from torch.func's gradients of single examples. What optimizers do is in OUT/optimizers (optimizer_cases.py), what
curvlinops makes of Kronecker factors in OUT/kfac (kfac_cases.py).
"""

import hashlib
import json
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

HELPER = Path(__file__).resolve().parents[2] / "python"
HERE = Path(__file__).parent
SOURCES = (Path(__file__), HERE / "optimizer_cases.py", HERE / "kfac_cases.py", HELPER / "osculant_export.py")
PACKAGES = [bool(find_spec(name)) for name in ("pytorch_optimizer", "curvlinops")]
STAMP = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES) + bytes(PACKAGES)).hexdigest()

if __name__ == "__main__":
    stamp_file = Path(sys.argv[1]) / "stamp"
    if stamp_file.exists() and stamp_file.read_text() == STAMP:
        sys.exit(0)
    if find_spec("torch") is None:
        print(f"{sys.executable} has no torch: the tests against Python are skipped")
        sys.exit(77)

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(HELPER))
import kfac_cases
import optimizer_cases
import osculant_export

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
BATCH = torch.export.Dim("batch", min=2, max=1024)


# ---- networks


class WithUnused(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.unused = net, nn.Linear(2, 3)

    def forward(self, x):
        return self.net(x)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9, 3))

    def forward(self, x):
        return self.head(self.features(x))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, activation="gelu", batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class CausalAttention(nn.Module):
    """Written out, where the zoo's calls libtorch's own."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = (f(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.output((scores.masked_fill(later, float("-inf")).softmax(3) @ v).transpose(1, 2).flatten(2))


class DecoderBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), CausalAttention(width, heads)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class LanguageModel(nn.Module):
    """osculant's transformer (osculant/model/zoo.h), with its names: logits [N, vocabulary, T]."""

    def __init__(self, vocabulary, context, width, layers, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = [DecoderBlock(width, heads) for _ in range(layers)]
        for i, block in enumerate(self.blocks):
            self.add_module(f"block{i + 1}", block)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).transpose(1, 2)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.recurrent = getattr(nn, kind)(3, 4, num_layers=2, batch_first=True, dropout=0.3)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.hidden = nn.Linear(4, 4)
        self.output = nn.Linear(4, 6, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens):
        return self.output(torch.tanh(self.hidden(self.embedding(tokens).mean(1))))


class ManyParts(nn.Module):
    """Two inputs and outputs, a no_grad region, arithmetic on sizes, factories, constants, lists of tensors."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(2, 4)
        self.register_buffer("scale", torch.linspace(0.5, 2, 4))
        self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0, 1.0]), persistent=False)
        self.constant = torch.arange(4.0)

    def forward(self, first, second):
        hidden = torch.tanh(self.a(first) + self.b(second) * self.scale + self.constant * self.mask)
        with torch.no_grad():
            norms = hidden.norm(dim=1, keepdim=True) + torch.ones(first.shape[0], 1)
        left, right = (hidden / norms).chunk(2, dim=1)
        rows = hidden.reshape(first.shape[0] * 2, 2).view(first.shape[0], -1)
        positions = torch.arange(first.shape[0] * 2).reshape(first.shape[0], 2).to(first.dtype)
        weights = positions / (first.shape[0] * 2 - 1) + torch.zeros_like(positions)
        return torch.cat([left * weights, right], dim=1), (rows**2).sum(1)


class Residual(nn.Module):
    """Layer norm, in-place arithmetic, a mutated input, checkpointing of nothing, softplus."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(4, 4), nn.Linear(4, 2), nn.LayerNorm(4)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        h = F.silu(self.a(self.norm(x)))
        h += x
        return self.b(F.softplus(h))


# ---- losses: (value summed, denominator), as osculant's OutputLoss


def loss_of(spec, reference):
    kind = spec["kind"]
    weights = reference.get("class_weights")
    smoothing = spec.get("label_smoothing", 0.0)
    if kind == "mse":
        return lambda z, y: F.mse_loss(z[0], y)
    if kind == "mse_sum":
        return lambda z, y: F.mse_loss(z[0], y, reduction="sum") / len(y)
    if kind == "mse_weighted":
        w = reference["example_weights"]
        return lambda z, y: (w[:, None] * (z[0] - y) ** 2).sum() / (w.sum() * y.shape[1])
    if kind == "cross_entropy":
        return lambda z, y: F.cross_entropy(z[0], y, weight=weights, label_smoothing=smoothing)
    if kind == "binary_cross_entropy":
        return lambda z, y: F.binary_cross_entropy_with_logits(z[0], y)
    if kind == "huber":
        return lambda z, y: F.huber_loss(z[0], y, delta=spec["delta"])
    if kind == "poisson":
        return lambda z, y: F.poisson_nll_loss(z[0], y, log_input=True, full=False)
    if kind == "squares":  # of all outputs: mean over examples of their sum
        return lambda z, y: sum((v**2).sum() for v in z) / len(y)
    raise ValueError(kind)


# ---- references


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def flat(tensors, like):
    return torch.cat([
        (torch.zeros_like(p) if t is None else t).reshape(-1) for t, p in zip(tensors, like)
    ])  # fmt: skip


def rows_of(values, parameters):
    """d values / d theta, one backward pass an entry."""
    return torch.stack([
        flat(torch.autograd.grad(v, parameters, retain_graph=True, allow_unused=True), parameters)
        for v in values
    ])  # fmt: skip


def hessian_by_double_backward(loss, parameters):
    gradient = flat(torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True), parameters)
    rows = []
    for entry in gradient:
        if entry.requires_grad:
            rows.append(flat(torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True), parameters))
        else:
            rows.append(torch.zeros_like(gradient))
    return torch.stack(rows).detach(), gradient.detach()


def hessian_by_torch_func(model, names, parameters, inputs, loss):
    sizes = [p.numel() for p in parameters]
    shapes = [p.shape for p in parameters]

    def value(theta):
        pieces = [piece.view(shape) for piece, shape in zip(theta.split(sizes), shapes)]
        return loss(as_tuple(torch.func.functional_call(model, dict(zip(names, pieces)), tuple(inputs))))

    return torch.func.hessian(value)(torch.cat([p.detach().reshape(-1) for p in parameters]))


def fisher_by_torch_func(model, names, parameters, inputs, targets, loss, labels):
    """The empirical Fisher matrix, the mean of outer products of the gradients of single examples; for class labels the
    Fisher matrix as well, its expectation over the network's own labels written out."""
    theta = {name: p.detach() for name, p in zip(names, parameters)}

    def joined(tree):
        return torch.cat([tree[name].flatten(1) for name in names], dim=1)

    def of_one(theta, y, *x):
        outputs = as_tuple(torch.func.functional_call(model, theta, tuple(v.unsqueeze(0) for v in x)))
        return loss(outputs, y.unsqueeze(0))

    gradients = lambda y: joined(torch.func.vmap(torch.func.grad(of_one), (None, 0, *(0 for _ in inputs)))(theta, y, *inputs))
    g = gradients(targets)
    E, F = g.T @ g / len(g), None
    if labels:
        probabilities = torch.softmax(model(*inputs).detach(), 1)
        F = torch.zeros_like(E)
        for k in range(probabilities.shape[1]):
            s = gradients(torch.full_like(targets, k))
            F += (s * probabilities[:, k : k + 1]).T @ s / len(s)
    return E, F


def fisher_over_positions(z, J):
    """The mean over examples and positions of E[s s'], s the gradient of a position's log p(y), y drawn by the network:
    each class k in its turn, whose log p has the gradient e_k - p in z. z [N, K, T], J [N K T, n]."""
    N, K, T = z.shape
    rows = J.view(N, K, T, -1).transpose(1, 2).reshape(N * T, K, -1)
    p = torch.softmax(z, 1).transpose(1, 2).reshape(N * T, K)
    F = torch.zeros(J.shape[1], J.shape[1], dtype=J.dtype)
    for k in range(K):
        s = rows[:, k] - torch.einsum("ik,ikn->in", p, rows)
        F += (s * p[:, k : k + 1]).T @ s / (N * T)
    return F


def reference_of(model, inputs, targets, loss, trainable, use_torch_func, plain):
    names, parameters = zip(*trainable)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        outputs = as_tuple(model(*inputs))
        value = loss(outputs, targets)
        H, gradient = hessian_by_double_backward(value, parameters)
        J = rows_of(torch.cat([z.reshape(-1) for z in outputs]), parameters).detach()

    sizes = [z.numel() for z in outputs]
    shapes = [z.shape for z in outputs]

    def of_outputs(joined):
        return loss(tuple(piece.view(shape) for piece, shape in zip(joined.split(sizes), shapes)), targets)

    output_hessian = torch.func.hessian(of_outputs)(torch.cat([z.detach().reshape(-1) for z in outputs]))
    if use_torch_func:
        other = hessian_by_torch_func(model, names, parameters, inputs, lambda z: loss(z, targets))
        if not torch.allclose(H, other, rtol=1e-11, atol=1e-13):
            raise AssertionError("double backward and torch.func disagree")
    n = H.shape[0]
    generator = torch.Generator().manual_seed(7)
    v = torch.randn(n, generator=generator, dtype=torch.float64)
    G = J.T @ output_hessian @ J
    reference = {"value": value.detach().reshape(1), "gradient": gradient, "v": v, "Hv": H @ v, "Gv": G @ v}
    reference["H"] = H
    if targets.dim() == 2 and not targets.is_floating_point():
        reference["Fv"] = fisher_over_positions(outputs[0].detach(), J) @ v
    if plain:
        labels = not targets.is_floating_point()
        E, F = fisher_by_torch_func(model, names, parameters, inputs, targets, loss, labels)
        reference["Ev"] = E @ v
        if labels:
            reference["Fv"] = F @ v
    reference.update({f"outputs.{i}": z.detach() for i, z in enumerate(outputs)})
    return reference


# ---- cases


def write_case(out, name, model, inputs, targets, loss, *, batch_size=4, frozen=(), exported_in="train", training=False,
               dynamic=True, program_dtype=torch.float64, use_torch_func=False, extra=None):  # fmt: skip
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    model = model.to(program_dtype)
    export_inputs = tuple(x.to(program_dtype) if x.is_floating_point() else x for x in inputs.values())
    model.train(exported_in == "train")
    shapes = tuple({0: BATCH} for _ in inputs) if dynamic else None
    torch.export.save(torch.export.export(model, export_inputs, dynamic_shapes=shapes), str(folder / "model.pt2"))

    model = model.to(torch.float64)
    if hasattr(model, "constant"):
        model.constant = model.constant.to(torch.float64)
    model.train(training)
    trainable = [(k, p) for k, p in model.named_parameters() if not any(k.startswith(f) for f in frozen)]
    extra = extra or {}
    reference = reference_of(
        model, list(inputs.values()), targets, loss_of(loss, extra), trainable, use_torch_func,
        plain=use_torch_func and not extra,
    )
    reference.update(extra)
    if training:
        reference.update({f"buffer.{k}": b.double() for k, b in model.named_buffers()})
    data = {f"inputs.{k}": v for k, v in inputs.items()}
    data["targets"] = targets
    if "example_weights" in extra:
        data["weights"] = extra["example_weights"]
    osculant_export.save_safetensors(data, folder / "data.safetensors")
    osculant_export.save_safetensors(reference, folder / "reference.safetensors")
    case = {
        "loss": loss,
        "batch_size": batch_size,
        "frozen": [f + "*" for f in frozen],
        "training": training,
        "parameters": [k for k, _ in trainable],
        "inputs": list(inputs),
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2))


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def mlp():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 3))


def write_losses(out):
    """Every loss with each option, on a small network with ten examples in batches of four, four and two."""
    x = {"input": normal(10, 3)}
    labels, probabilities = torch.randint(0, 3, (10,)), torch.softmax(normal(10, 3), 1)
    class_weights = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    rows = {
        "mse": ({"kind": "mse"}, normal(10, 3), None),
        "mse_sum": ({"kind": "mse_sum"}, normal(10, 3), None),
        "mse_weighted": ({"kind": "mse_weighted"}, normal(10, 3), {"example_weights": torch.rand(10).double()}),
        "cross_entropy": ({"kind": "cross_entropy"}, labels, None),
        "cross_entropy_options": (
            {"kind": "cross_entropy", "label_smoothing": 0.1}, labels, {"class_weights": class_weights}
        ),
        "cross_entropy_probabilities": ({"kind": "cross_entropy"}, probabilities, None),
        "binary_cross_entropy": ({"kind": "binary_cross_entropy"}, torch.rand(10, 3).double(), None),
        "huber": ({"kind": "huber", "delta": 0.7}, normal(10, 3), None),
        "poisson": ({"kind": "poisson"}, torch.randint(0, 4, (10, 3)).double(), None),
    }  # fmt: skip
    for name, (loss, targets, extra) in rows.items():
        write_case(out, f"mlp_{name}", mlp(), x, targets, loss, use_torch_func=True, extra=extra)


def write_networks(out):
    labels = torch.randint(0, 3, (6,))
    cross_entropy, mse = {"kind": "cross_entropy"}, {"kind": "mse"}
    vectors, images, sequences = normal(6, 3), normal(6, 1, 6, 6), normal(6, 4, 3)
    tokens, two = torch.randint(0, 6, (6, 5)), normal(6, 2)
    write_case(out, "unused", WithUnused(mlp()), {"x": vectors}, labels, cross_entropy)
    write_case(out, "frozen", mlp(), {"input": vectors}, labels, cross_entropy, frozen=("0.",))
    write_case(out, "exported_in_eval", mlp(), {"input": vectors}, labels, cross_entropy, exported_in="eval")
    write_case(out, "one_batch_size", mlp(), {"input": vectors}, labels, cross_entropy, dynamic=False, batch_size=6)

    for mode in ("train", "eval"):
        torch.manual_seed(3)
        write_case(out, f"cnn_{mode}", Cnn(), {"x": images}, labels, cross_entropy, exported_in=mode)
        torch.manual_seed(3)
        write_case(out, f"cnn_{mode}_training", Cnn(), {"x": images}, labels, cross_entropy, exported_in=mode,
                   training=True, batch_size=6)  # fmt: skip

    write_case(out, "transformer", Transformer(), {"x": normal(6, 3, 4)}, labels, cross_entropy)
    write_case(out, "transformer_float32", Transformer(), {"x": normal(6, 3, 4)}, labels, cross_entropy,
               program_dtype=torch.float32, exported_in="eval")  # fmt: skip
    write_case(out, "language_model", LanguageModel(5, 4, 4, 1, 2), {"tokens": torch.randint(0, 5, (6, 4))},
               torch.randint(0, 5, (6, 4)), cross_entropy)  # fmt: skip
    write_case(out, "lstm", Recurrent("LSTM"), {"x": sequences}, two, mse)
    write_case(out, "lstm_float32", Recurrent("LSTM"), {"x": sequences}, two, mse, program_dtype=torch.float32)
    write_case(out, "gru", Recurrent("GRU"), {"x": sequences}, two, mse)
    write_case(out, "rnn", Recurrent("RNN"), {"x": sequences}, two, mse)
    write_case(out, "tied", Tied(), {"tokens": tokens}, torch.randint(0, 6, (6,)), cross_entropy)
    write_case(out, "residual", Residual(), {"x": normal(6, 4)}, two, mse)
    # Outputs that depend on the batch's size: one batch.
    write_case(out, "many_parts", ManyParts(), {"first": vectors, "second": two}, two, {"kind": "squares"},
               program_dtype=torch.float32, batch_size=6)  # fmt: skip


def write_decomposed(out):
    """The same program in core ATen, where batch norm returns new statistics instead of updating them."""
    folder = out / "decomposed"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    model = Cnn().double().train()
    x = normal(6, 1, 6, 6)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: BATCH},)).run_decompositions()
    torch.export.save(program, str(folder / "model.pt2"))
    reference = {"x": x, "outputs.training": model(x).detach()}
    reference.update({f"buffer.{k}": b.double() for k, b in model.named_buffers()})
    model.eval()
    reference["outputs.eval"] = model(x).detach()
    osculant_export.save_safetensors(reference, folder / "reference.safetensors")


if __name__ == "__main__":
    destination = Path(sys.argv[1])
    shutil.rmtree(destination, ignore_errors=True)
    torch.manual_seed(0)
    write_losses(destination)
    write_networks(destination)
    write_decomposed(destination)
    optimizer_cases.write(destination / "optimizers", osculant_export.save_safetensors)
    kfac_cases.write(destination / "kfac", osculant_export.save_safetensors)
    (destination / "stamp").write_text(STAMP)
