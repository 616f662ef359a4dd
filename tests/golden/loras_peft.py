"""Adapter files in the names of kohya's trainers, OneTrainer, diffusers and PEFT; the latter two merge them."""

import re
import tempfile
from pathlib import Path

import peft.tuners.boft.layer as boft_layer
import torch
from peft import PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

import loras_common as common
import networks_ldm as ldm

PREFIXES = {"unet": "lora_unet", "text_encoder": "lora_te"}
PREFIXES_XL = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
OMI = {"unet": "unet", "text_encoder": "clip_l", "text_encoder_2": "clip_g"}
ATTENTION = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out.0": "to_out"}
ATTENTION |= {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


# ---------------------------------------------------------------- names


class Names:
    """Names in a file: `of` takes a canonical name and says what comes before the ending of a tensor."""

    def __init__(self, pipe, naming):
        self.naming = naming
        self.prefixes = PREFIXES_XL if hasattr(pipe, "text_encoder_2") else PREFIXES
        state = pipe.unet.state_dict()
        numbered = {k: torch.full((1,) * v.ndim, float(i)) for i, (k, v) in enumerate(state.items())}
        back = {int(v.flatten()[0]): k for k, v in ldm.unet(numbered, pipe.unet.config).items()}
        name = {k: back[i].removeprefix("model.diffusion_model.") for i, k in enumerate(state)}
        self.ldm = {k.removesuffix(".weight"): v.removesuffix(".weight") for k, v in name.items()}

    def of(self, module):
        part, path = module.split(".", 1)
        if self.naming in ("kohya", "kohya_plain_text"):
            if self.naming == "kohya_plain_text":
                path = path.removeprefix("text_model.")
            return f"{self.prefixes[part]}_{path}".replace(".", "_")
        if self.naming == "kohya_ldm":
            return f"{self.prefixes[part]}_{self.ldm[path] if part == 'unet' else path}".replace(".", "_")
        if self.naming == "omi":
            return f"{OMI[part]}.{self.ldm[path] if part == 'unet' else path}"
        if self.naming in ("processors", "processors_bare"):
            owner, last = next(
                (path[: -len(k) - 1], v) for k, v in ATTENTION.items() if path.endswith("." + k)
            )
            owner += ".processor" if part == "unet" else ""
            return ("" if self.naming == "processors_bare" else part + ".") + f"{owner}.{last}"
        return module

    def endings(self, module):
        if self.naming in ("processors", "processors_bare"):
            return "_lora.down.weight", "_lora.up.weight"
        if self.naming == "diffusers_old":
            own = ".lora" if module.startswith("unet") else ".lora_linear_layer"
            return own + ".down.weight", own + ".up.weight"
        if self.naming == "diffusers":
            return ".lora_A.weight", ".lora_B.weight"
        return ".lora_down.weight", ".lora_up.weight"


def state_of(names, values, alphas):
    """{key: tensor} for {module: (down, up)}."""
    state = {}
    for module, (down, up) in values.items():
        name, (down_ending, up_ending) = names.of(module), names.endings(module)
        state[name + down_ending], state[name + up_ending] = down, up
        if alphas.get(module) is not None:
            state[name + ".alpha"] = torch.tensor(float(alphas[module]), dtype=down.dtype)
    return state


def low_rank(pipe, ranks, g, dtype):
    values = {}
    for module, rank in ranks.items():
        shape = common.module_of(pipe, module).weight.shape
        down = common.random(g, "lora_down", torch.empty(rank, *shape[1:]))
        up = common.random(g, "lora_up", torch.empty(shape[0], rank, *[1] * (len(shape) - 2)))
        values[module] = down.to(dtype), up.to(dtype)
    return values


# ---------------------------------------------------------------- diffusers


def load(pipe, path, bare=False):
    if bare:
        pipe.unet.load_lora_adapter(path.parent, weight_name=path.name, prefix=None)
    else:
        pipe.load_lora_weights(path.parent, weight_name=path.name)


def fused(family, path, strengths, bare=False):
    """{strength: {tensor: merged}} of a file that diffusers reads."""
    out = {}
    for s in strengths:
        pipe = common.pipeline(family)
        before = common.weights(pipe)
        load(pipe, path, bare)
        pipe.fuse_lora(components=list(common.parts(pipe)), lora_scale=s)
        pipe.unload_lora_weights()
        out[s] = common.changed(before, common.weights(pipe))
    return out


def by_script(path, family, naming, ranks, alphas, seed, dtype, strengths, metadata=None, extra=None):
    """A LoRA in any naming.  Where diffusers does not read it, the same tensors in kohya's names are merged."""
    pipe, g = common.pipeline(family), torch.Generator().manual_seed(seed)
    values, names = low_rank(pipe, ranks, g, dtype), Names(pipe, naming)
    state = state_of(names, values, alphas)
    save_file(state | (extra or {}), path, metadata or {"format": "pt"})
    common.settle(path)
    if naming in ("omi", "kohya_plain_text") or extra:
        with tempfile.TemporaryDirectory() as folder:
            twin = Path(folder) / "twin.safetensors"
            save_file(state_of(Names(pipe, "kohya"), values, alphas), twin)
            expected = fused(family, twin, strengths)
    else:
        expected = fused(family, path, strengths, naming == "processors_bare")
    return {names.of(m): m for m in values}, expected


def randomise(model, g):
    with torch.no_grad():
        for name, p in model.named_parameters():
            kind = re.search(r"\.(lora_A|lora_B|lora_magnitude_vector|ia3_l|b?oft_R|boft_s|hada_\w+|lokr_\w+)\.", name)
            if kind:
                p.copy_(common.random(g, kind[1], p))


def by_diffusers(path, family, configs, seed, strengths, header=True, text_model=False):
    """Adapters that PEFT makes inside of a pipeline, saved by diffusers; `configs` has one for each part."""
    torch.manual_seed(seed)  # a DoRA's first magnitudes come from first values by the global generator
    pipe, g = common.pipeline(family), torch.Generator().manual_seed(seed)
    arguments = {}
    for part, config in configs.items():
        model = getattr(pipe, part)
        model.add_adapter(config, "default")
        randomise(model, g)
        state = get_peft_model_state_dict(model, adapter_name="default")
        if text_model and part != "unet":
            state = {k if k.startswith("text_") else "text_model." + k: v for k, v in state.items()}
        arguments[f"{part}_lora_layers"] = {k: v.detach().contiguous() for k, v in state.items()}
        if header:
            arguments[f"{part}_lora_adapter_metadata"] = common.ordered(
                model.peft_config["default"].to_dict()
            )
    pipe.save_lora_weights(path.parent, weight_name=path.name, **arguments)
    common.settle(path)
    return fused(family, path, strengths)


class BlockDiagonal:
    """What PEFT's CUDA kernel does. Without that, it would leave out all stages of BOFT but the first."""

    @staticmethod
    def apply(blocks):
        return torch.stack([torch.block_diag(*stage) for stage in blocks])


boft_layer.get_fbd_cuda, boft_layer.FastBlockDiag = lambda: True, BlockDiagonal


def by_peft(folder, family, part, config, seed, strengths, pickled=False):
    """An adapter folder as PEFT saves it, or once saved it."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    model = get_peft_model(getattr(common.pipeline(family), part), config)
    randomise(model, g)
    model.save_pretrained(folder, safe_serialization=not pickled)
    (folder / "README.md").unlink()
    if not pickled:
        common.settle(folder / "adapter_model.safetensors")
    common.settle_config(folder / "adapter_config.json")
    out = {}
    for s in strengths:
        pipe = common.pipeline(family)
        before = common.weights(pipe)
        loaded = PeftModel.from_pretrained(getattr(pipe, part), folder)
        for module in loaded.modules():
            if isinstance(module, BaseTunerLayer) and s != 1:
                module.scale_layer(s)
        setattr(pipe, part, loaded.merge_and_unload())
        out[s] = common.changed(before, common.weights(pipe))
    return out


def names_in(path, prefixes, split):
    """{name in the file: canonical name} where a file's names are canonical ones behind a prefix."""
    out = {}
    for key in common.read(path):
        name = split(key)[0]
        prefix = next(p for p in prefixes if name.startswith(p))
        out[name] = common.canonical(*(prefixes[prefix] + "." + name.removeprefix(prefix)).split(".", 1))
    return out
