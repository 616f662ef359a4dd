"""What the makers of adapter files share: the tiny models, names, random values and stable files."""

import json
import struct
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
OUT = HERE / "loras"
PARTS = ("unet", "text_encoder", "text_encoder_2")


def pipeline(family):
    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    pipe = kind.from_pretrained(HERE / "networks" / family, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def parts(pipe):
    return {p: getattr(pipe, p) for p in PARTS if getattr(pipe, p, None) is not None}


def canonical(part, name):
    """The name of a tensor or module: its part, a dot, and its name in the part's safetensors file."""
    if part != "unet" and not name.startswith("text_"):
        name = "text_model." + name
    return f"{part}.{name}"


def module_of(pipe, name):
    part, path = name.split(".", 1)
    model = getattr(pipe, part)
    if not hasattr(model, "text_model"):
        path = path.removeprefix("text_model.")
    return model.get_submodule(path)


def weights(pipe):
    """Every tensor by its canonical name."""
    return {
        canonical(part, name): value.detach().clone()
        for part, model in parts(pipe).items()
        for name, value in model.state_dict().items()
    }


def changed(before, after):
    """What an adapter touched."""
    assert before.keys() == after.keys(), sorted(before.keys() ^ after.keys())
    return {
        name: after[name].contiguous()
        for name in sorted(before)
        if not torch.equal(before[name], after[name])
    }


# ---------------------------------------------------------------- values

FACTORS = {"hada_w1_b": 0.25, "hada_w2_b": 0.25, "hada_t1": 0.25, "hada_t2": 0.25}
STEADY = {
    "oft_blocks": 0.15,
    "oft_R": 0.1,
    "boft_R": 0.2,
    "boft_s": 0.2,
    "ia3_l": 0.3,
    "rescale": 0.2,
    "weight": 0.3,
    "w_norm": 0.2,
    "b_norm": 0.2,
}


def random(g, name, old):
    """Values for the tensor `name` of an adapter, so that weights change by a part of their size."""
    r = torch.randn(old.shape, generator=g)
    if name in ("rescale", "ia3_l", "boft_s"):
        return 1 + STEADY[name] * r
    if name in ("dora_scale", "lora_magnitude_vector"):
        return old.detach() * (1 + 0.3 * r)
    if name in STEADY:
        return STEADY[name] * r
    if old.ndim < 2:
        return 0.1 * r
    power = FACTORS.get(name, 0.5)
    if name in ("hada_w1_a", "hada_w2_a") and old.shape[0] < old.shape[1]:  # Tucker: [rank, out]
        return r * old.shape[0] ** -0.25
    return r * old[0].numel() ** -power * (0.5 if name == "diff" else 1)


# ---------------------------------------------------------------- files


def read(path):
    """The tensors of a file of either library."""
    return torch.load(path, weights_only=True) if path.suffix == ".bin" else load_file(path)


def weights_in(folder):
    """The file with the weights in a folder of PEFT's."""
    return next(folder.glob("adapter_model.*"))


def settle(path):
    """The file again with sorted keys and metadata: libraries write both in an order of the day."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    meta = header.pop("__metadata__", {})
    for key, value in meta.items():
        if key == "lora_adapter_metadata":
            meta[key] = json.dumps(ordered(json.loads(value)), indent=2, sort_keys=True)
    out, at, body = {"__metadata__": dict(sorted(meta.items()))}, 0, b""
    for name, entry in sorted(header.items(), key=lambda e: (-width(e[1]), e[0])):
        begin, end = entry["data_offsets"]
        body += data[8 + size + begin : 8 + size + end]
        out[name] = {**entry, "data_offsets": [at, at + end - begin]}
        at += end - begin
    text = json.dumps(out, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    load_file(path)


def width(entry):
    """Bytes of a number: wide types come first, so that every tensor is aligned."""
    begin, end = entry["data_offsets"]
    return max(1, (end - begin) // max(1, torch.Size(entry["shape"]).numel()))


def ordered(config):
    """A configuration whose lists that were sets are sorted, and whose paths are those below this folder."""
    here = str(HERE) + "/"
    return {
        k: sorted(v) if isinstance(v, (list, set)) else v.removeprefix(here) if isinstance(v, str) else v
        for k, v in config.items()
    }


def settle_config(path):
    config = ordered(json.loads(path.read_text()))
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
