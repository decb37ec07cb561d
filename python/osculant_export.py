"""Hands a PyTorch model and its data to Osculant, and reads the trained weights back.

    import osculant_export
    osculant_export.export(model, (images[:8],), {"inputs": images, "targets": labels})
    #   osculant train --model m.pt2 --data train.safetensors --loss cross_entropy
    osculant_export.load_parameters(model, "runs/first/parameters.safetensors")

One file without dependencies but torch (2.9 or newer): copy it next to your code.
"""

import inspect
import json
import os
import struct
from pathlib import Path

import torch

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def export(model, example_inputs, data=None, path_model="m.pt2", path_data="train.safetensors", max_batch=None):
    """Writes `path_model`, and `path_data` when there is data.

    model            a torch.nn.Module; its mode is left as it was
    example_inputs   a tuple of tensors as forward takes them, the first dimension being the example; at least
                     two examples, of any values
    data             {"inputs": tensor, "targets": tensor}, optionally "weights"; for several inputs
                     {"inputs": {"x": ..., "y": ...}} with the names of forward's arguments
    max_batch        the largest batch the program must take; by default any
    """
    example_inputs = _checked_examples(example_inputs)
    was_training = model.training
    model.train()  # only a program exported in training mode remembers attention's dropout; Osculant switches modes
    try:
        program = _export(model, example_inputs, max_batch)
    finally:
        model.train(was_training)
    torch.export.save(program, os.fspath(path_model))
    if data is not None:
        save_data(data, path_data, names=input_names(model, len(example_inputs)))
    return program


def _checked_examples(example_inputs):
    if isinstance(example_inputs, torch.Tensor):
        example_inputs = (example_inputs,)
    example_inputs = tuple(example_inputs)
    for i, value in enumerate(example_inputs):
        if not isinstance(value, torch.Tensor) or value.dim() == 0:
            raise TypeError(f"example_inputs[{i}] must be a tensor whose first dimension is the example")
    sizes = [value.shape[0] for value in example_inputs]
    if len(set(sizes)) != 1:
        raise ValueError(f"example_inputs have {sizes} examples; all must have the same number")
    if sizes[0] < 2:
        # torch.export takes a size of 1 for a constant.
        example_inputs = tuple(torch.cat([value, value]) for value in example_inputs)
    return example_inputs


def _export(model, example_inputs, max_batch):
    batch = torch.export.Dim("batch", min=1, max=max_batch)
    try:
        return torch.export.export(model, example_inputs, dynamic_shapes=_shapes(model, example_inputs, batch))
    except Exception as error:
        raise RuntimeError(
            "torch.export could not export the model for batches of any size. Its forward pass must not depend on "
            "the values of tensors in Python's if or while, nor turn the batch size into a constant (write "
            "x.shape[0] or -1, not a number), and must not call autograd or vmap itself. What torch said:\n"
            f"{error}"
        ) from error


def _shapes(model, example_inputs, batch):
    shapes = tuple({0: batch} for _ in example_inputs)
    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        named = sum(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)
        return (*shapes[:named], shapes[named:])
    return shapes


def input_names(model, count):
    """The names that the exported program gives its inputs: those of forward's arguments."""
    names = [p.name for p in inspect.signature(model.forward).parameters.values()
             if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]  # fmt: skip
    return names[:count] if len(names) >= count else None


def save_data(data, path, names=None):
    """{"inputs": ..., "targets": ..., "weights": ...} to a data file of Osculant."""
    unknown = set(data) - {"inputs", "targets", "weights"}
    if unknown or "inputs" not in data:
        raise ValueError(f'data has {sorted(data)}; it takes "inputs", "targets" and optionally "weights"')
    tensors = {}
    for group in ("inputs", "targets", "weights"):
        value = data.get(group)
        if isinstance(value, dict):
            tensors.update({f"{group}.{name}": tensor for name, tensor in value.items()})
        elif value is not None:
            tensors[group] = value
    tensors = {name: torch.as_tensor(value) for name, value in tensors.items()}
    given = sorted(name[len("inputs.") :] for name in tensors if name.startswith("inputs."))
    if names is not None and given and given != sorted(names):
        raise ValueError(f"data has inputs {given}, the model takes {names}")
    if names is not None and not given and len(names) > 1:
        raise ValueError(f'the model takes {names}: give data["inputs"] as a dict with these names')
    sizes = {name: value.shape[0] if value.dim() else None for name, value in tensors.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise ValueError(f"first dimensions must be the same number of examples, but are {sizes}")
    save_safetensors(tensors, path)


def load_parameters(model, path, strict=True):
    """Reads Osculant's parameters.safetensors into the model: parameters and buffers, tied weights included."""
    stored = load_safetensors(path)
    wanted = model.state_dict(keep_vars=True)
    by_tensor = {id(value): stored[name] for name, value in wanted.items() if name in stored}
    state = {name: stored[name] if name in stored else by_tensor.get(id(value)) for name, value in wanted.items()}
    missing = [name for name, value in state.items() if value is None]
    unknown = [name for name in stored if name not in wanted]
    if strict and (missing or unknown):
        raise ValueError(f"{path} does not fit the model: missing {missing}, unknown {unknown}")
    for name, value in state.items():
        if value is not None and value.shape != wanted[name].shape:
            raise ValueError(f"{path}: {name} has shape {list(value.shape)}, the model's {list(wanted[name].shape)}")
    model.load_state_dict({name: value for name, value in state.items() if value is not None}, strict=False)
    return model


def save_safetensors(tensors, path):
    """A safetensors file: 8 bytes of header length, a JSON header, raw bytes."""
    header, offset = {}, 0
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    for name, value in tensors.items():
        if value.dtype not in DTYPES:
            raise TypeError(f"{name} is {value.dtype}; safetensors takes {sorted(map(str, DTYPES))}")
        end = offset + value.numel() * value.element_size()
        header[name] = {"dtype": DTYPES[value.dtype], "shape": list(value.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(_bytes(value))


def _bytes(value):
    return value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""


def load_safetensors(path):
    raw = Path(path).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0] if len(raw) >= 8 else len(raw)
    if 8 + length > len(raw):
        raise ValueError(f"{path}: truncated, or not a safetensors file")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {code: dtype for dtype, code in DTYPES.items()}
    body = bytearray(raw[8 + length :])
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype, shape = types[entry["dtype"]], entry["shape"]
        if end > len(body):
            raise ValueError(f"{path}: truncated: {name} ends at byte {end} of {len(body)}")
        flat = torch.frombuffer(body[begin:end], dtype=dtype) if end > begin else torch.empty(0, dtype=dtype)
        tensors[name] = flat.clone().reshape(shape)
    return tensors
