#!/usr/bin/env python3
"""Small files as torch.save writes them, and what is in them.

    python tests/golden/pickles.py

writes pickles/ and pickles/expected.json.  Made with torch 2.13.0 (CPU), numpy 2.4.6 and Python 3.11; it writes the
same bytes when run again.
"""
import argparse
import hashlib
import json
import shutil
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import torch

assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
OUT = Path(__file__).resolve().parent / "pickles"
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2", torch.float8_e8m0fnu: "F8_E8M0", torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
}  # fmt: skip
expected = {}


storage_numbers = {}


def number_storages():
    """The older form keeps storages under their addresses; numbers in the order of asking make files repeatable."""
    address = torch._C.StorageBase._cdata.__get__
    torch.UntypedStorage._cdata = property(
        lambda self: storage_numbers.setdefault(address(self), 1000 + len(storage_numbers))
    )


def pretend_class(module, name, *bases):
    """A class that pickles under the name of one that is not installed here."""
    made = type(name, bases, {"__module__": module})
    parts = module.split(".")
    for i in range(len(parts)):
        sys.modules.setdefault(".".join(parts[: i + 1]), types.ModuleType(parts[i]))
    setattr(sys.modules[module], name, made)
    return made


Checkpoint = pretend_class("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
Attributes = pretend_class("pytorch_lightning.utilities.parsing", "AttributeDict", dict)


def describe(tensor, copied):
    packed = tensor.detach().contiguous().clone()
    raw = packed.view(-1).view(torch.uint8).numpy().tobytes() if packed.numel() else b""
    return {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "copied": copied,
            "sha256": hashlib.sha256(raw).hexdigest()}  # fmt: skip


def save(name, value, tensors, metadata=None, root="", left_out=0, copied=(), **options):
    """`tensors` and `metadata` are what a reader gives; `copied`: whose data do not lie in the file as needed."""
    storage_numbers.clear()
    torch.save(value, OUT / name, **options)
    expected[name] = {
        "root": root,
        "left_out": left_out,
        "tensors": {key: describe(t, key in copied) for key, t in tensors.items()},
        "metadata": metadata or {},
    }


def random(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape) + 7)).to(dtype)


def every_dtype():
    tensors = {}
    for dtype, name in DTYPES.items():
        values = torch.arange(-3, 9).clamp(min=0) if dtype.is_floating_point else torch.arange(12)
        tensors[name.lower()] = values.to(torch.float32).to(dtype).reshape(3, 4)
    tensors["number"] = torch.tensor(2.5)
    tensors["none"] = torch.zeros(0, 3)
    tensors["deep"] = random(1, 2, 1, 3, 1, 2, 1, 1)
    save("dtypes.pt", tensors, tensors)


def views(name, **options):
    base = random(6, 4)
    other = random(2, 3, 4, 4)
    tensors = {
        "base": base,
        "rows": base[2:5],
        "row": base[3],
        "number": base[2, 1],
        "transposed": base.t(),
        "columns": base[:, 1:3],
        "every_other": base[::2],
        "repeated": base[1:2].expand(3, 4),
        "channels_last": other.contiguous(memory_format=torch.channels_last),
        "permuted": other.permute(3, 0, 2, 1),
        "one_wide": torch.as_strided(base, (1, 4, 1), (77, 1, 13), 8),
    }
    copied = {"transposed", "columns", "every_other", "repeated", "channels_last", "permuted"}
    save(name, tensors, tensors, copied=copied, **options)


def nested(name, **options):
    a, b = random(2, 3), random(4)
    value = {
        "epoch": 3,
        "lr": 1e-4,
        "third": 1 / 3,
        "negative": -5,
        "long": 2**40,
        "too long": 2**70,
        "flag": True,
        "nothing": None,
        "text": "naïve \U0001f600\n",
        "odd": "a\0b",
        "list": [1, "two"],
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "size": a.size(),
        "set": {1, 2},
        "frozen": frozenset((3,)),
        "counter": Counter([5000]),
        "default": defaultdict(dict, {"x": 1}),
        "attributes": Attributes(width=3),
        "class": Checkpoint,
        "object": Checkpoint(),
        "arguments": argparse.Namespace(width=3),
        "model": OrderedDict(
            a=OrderedDict(weight=a, bias=b), list=[a, {"c": b, "deep": (b, a)}], empty={}, step=7, **{"x.y": b}
        ),
    }
    value["model"][7] = b
    metadata = {"counter.5000": "1", "default.x": "1", "attributes.width": "3", "epoch": "3", "lr": "0.0001",
                "third": "0.3333333333333333", "negative": "-5", "long": str(2**40),
                "flag": "true", "text": "naïve \U0001f600\n", "device": "cpu", "model.step": "7"}  # fmt: skip
    tensors = {"a.weight": a, "a.bias": b, "list.0": a, "list.1.c": b, "list.1.deep.0": b, "list.1.deep.1": a,
               "x.y": b, "7": b}  # fmt: skip
    save(name, value, tensors, metadata, root="model", **options)


def lightning(name, **options):
    state = OrderedDict()
    state["model.diffusion_model.out.2.weight"] = random(4, 8, 3, 3, dtype=torch.float16)
    state["model.diffusion_model.out.2.bias"] = random(4, dtype=torch.float16)
    state["model_ema.decay"] = torch.tensor(0.9999)
    state["model_ema.num_updates"] = torch.tensor(12, dtype=torch.int32)
    value = {
        "epoch": 13,
        "global_step": 470000,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": state,
        "callbacks": {
            Checkpoint: {
                "monitor": "val/loss_simple_ema",
                "best_model_score": torch.tensor(0.25),
                "best_model_path": "epoch=000012.ckpt",
                "current_score": np.float64(0.5),
            }
        },
        "optimizer_states": [{"state": {0: {"step": 470000, "exp_avg": random(4)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [{"last_epoch": 470000, "lr_lambdas": [None]}],
    }
    where = "callbacks.pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint."
    metadata = {"epoch": "13", "global_step": "470000", "pytorch-lightning_version": "1.4.2",
                where + "monitor": "val/loss_simple_ema", where + "best_model_path": "epoch=000012.ckpt",
                where + "current_score": "0.5"}  # fmt: skip
    save(name, value, state, metadata, root="state_dict", left_out=2, **options)


def inversion(name, parameter, **options):
    vectors = random(2, 8)
    value = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.nn.Parameter(vectors) if parameter else vectors},
        "name": "acme",
        "step": 999,
        "sd_checkpoint": None,
        "sd_checkpoint_name": "mockup",
    }
    metadata = {"string_to_token.*": "265", "name": "acme", "step": "999", "sd_checkpoint_name": "mockup"}
    save(name, value, {"string_to_param.*": vectors}, metadata, **options)


def first_inversion():
    """As the program of the paper wrote them: a module that holds the parameters."""
    vectors, token = random(1, 8), torch.tensor(265)
    value = {"string_to_token": {"*": token}, "string_to_param": torch.nn.ParameterDict({"*": vectors})}
    save("inversion_module.pt", value, {"string_to_token.*": token, "string_to_param.*": vectors})


def parameters():
    named, plain = torch.nn.Parameter(random(3)), random(5)
    named.note = "attributes come with another call"
    plain.note = "and on tensors with a third"
    tensors = {"named": named, "plain": plain, "parameter": torch.nn.Parameter(random(2, 2))}
    save("parameters.pt", tensors, tensors)
    save("tensor.pt", plain, {"tensor": plain})
    save("list.pt", [plain, {"x": plain}], {"0": plain, "1.x": plain})


class OnDevice:
    """A tensor as devices are saved that PyTorch cannot write itself."""

    def __init__(self, array, dtype):
        self.array, self.dtype = array, dtype

    def __reduce__(self):
        return torch._utils._rebuild_device_tensor_from_numpy, (self.array, self.dtype, "mps", False)


def from_numpy():
    values = np.arange(12, dtype=np.float32).reshape(3, 4) - 130
    numbers = {"f8": np.float64(0.1), "f4": np.float32(0.1), "f2": np.float16(0.1), "i8": np.int64(-(2**62)),
               "i4": np.int32(-5), "i2": np.int16(-6), "i1": np.int8(-7), "u8": np.uint64(8),
               "u4": np.uint32(2**32 - 1), "u2": np.uint16(65535), "u1": np.uint8(255),
               "b1": np.bool_(True)}  # fmt: skip
    value = {"embedding": OnDevice(values, torch.float32), "array": values.astype(np.int16),
             "fortran": np.asfortranarray(values), "too large": np.uint64(2**64 - 1), **numbers}  # fmt: skip
    tensors = {"embedding": torch.from_numpy(values), "array": torch.from_numpy(values.astype(np.int16)),
               "fortran": torch.from_numpy(values)}  # fmt: skip
    text = {"f8": "0.1", "f4": "0.10000000149011612", "f2": "0.0999755859375", "b1": "true"}
    metadata = {name: text.get(name) or str(int(number)) for name, number in numbers.items()}
    # These arrays lie in the pickle as text, so that their bytes are always decoded.
    save("numpy.pt", value, tensors, metadata, copied=set(tensors))


def state_dict(name, **options):
    torch.manual_seed(3)
    state = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5)).state_dict()
    save(name, state, dict(state), **options)


def wrapped():
    a, b, c = random(3), random(4), random(5)
    save("params_ema.pth", {"params": {"a": a}, "params_ema": {"a": b}}, {"a": b}, root="params_ema", left_out=1)
    save("module.pth", {"module": {"state_dict": {"module.a": a}, "b": b}, "step": 1}, {"module.a": a}, {"step": "1"},
         root="module.state_dict", left_out=1)  # fmt: skip
    save("two_parts.pth", {"model": {"a": a}, "vae": {"a": b}}, {"model.a": a, "vae.a": b})
    save("keys.pth", {("a", 1): a, 2.5: b, "c": c, b"d": 1}, {"c": c}, left_out=2)
    save("shared.pth", {"a": (shared := {"x": a}), "b": shared}, {"a.x": a, "b.x": a})
    save("none.pt", {"step": 5}, {}, {"step": "5"})


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    number_storages()
    legacy = {"_use_new_zipfile_serialization": False}
    every_dtype()
    views("views.pt")
    views("views_legacy.pt", **legacy)
    nested("nested.pt")
    nested("nested4.pt", pickle_protocol=4)
    lightning("lightning.ckpt")
    lightning("lightning_legacy.ckpt", **legacy)
    inversion("inversion.pt", False)
    inversion("inversion_parameter.pt", True)
    inversion("inversion_legacy.pt", True, **legacy)
    first_inversion()
    parameters()
    from_numpy()
    wrapped()
    for protocol in range(2, 6):
        state_dict(f"protocol{protocol}.pt", pickle_protocol=protocol)
        state_dict(f"protocol{protocol}_legacy.pt", pickle_protocol=protocol, **legacy)
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


main()
