"""Adapter files and merged weights by lycoris-lora, with its names for kohya's trainer or for its own.

Its merge_to multiplies LoHa and LoKr by alpha / rank twice, its forward once: what is expected here is what forward
uses.
"""

import json
import logging
import re

import torch
from lycoris.kohya import LycorisNetworkKohya
from lycoris.logging import logger
from lycoris.modules import make_module
from lycoris.modules.full import FullModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.utils import convert_diffusers_name_to_compvis
from lycoris.wrapper import LycorisNetwork
from safetensors.torch import load_file, save_file

import loras_common as common

logger.setLevel(logging.ERROR)


class Prefixed(torch.nn.Module):
    """A text encoder whose modules begin with text_model., as in the transformers that these trainers use."""

    def __init__(self, model):
        super().__init__()
        self.text_model = model


def exactly(names):
    return ["^" + re.escape(n) + "$" for n in names]


def network(pipe, modules, algo, own_names, **options):
    """A LyCORIS network on the named modules (canonical names)."""
    split = [m.split(".", 1) for m in modules]
    if own_names:
        names = exactly(n for part, n in split if part == "unet")
        LycorisNetwork.apply_preset({"target_module": [], "target_name": names, "lora_prefix": "lycoris"})
        made = LycorisNetwork(pipe.unet, network_module=algo, warn_on_unmatched=False, **options)
    else:
        texts = [
            m if hasattr(m, "text_model") else Prefixed(m)
            for p, m in common.parts(pipe).items()
            if p != "unet"
        ]
        LycorisNetworkKohya.apply_preset(
            {
                "unet_target_module": [],
                "unet_target_name": exactly(n for part, n in split if part == "unet"),
                "text_encoder_target_module": [],
                "text_encoder_target_name": exactly(n for part, n in split if part != "unet"),
            }
        )
        made = LycorisNetworkKohya(
            texts if len(texts) > 1 else texts[0],
            pipe.unet,
            network_module=algo,
            warn_on_unmatched=False,
            **options,
        )
    return made


def names_of(pipe, loras):
    """{name in the file: canonical name of the module}"""
    known = {
        id(module): common.canonical(part, name)
        for part, model in common.parts(pipe).items()
        for name, module in model.named_modules()
        if name
    }
    return {lora.lora_name: known[id(lora.org_module[0])] for lora in loras}


def randomise(loras, g, dtype):
    with torch.no_grad():
        for lora in loras:
            for name, p in lora.named_parameters():
                key = name.removesuffix(".weight") if name != "weight" else name
                p.copy_(common.random(g, key, p).to(dtype).float())


def merged(lora, s):
    """(weight, bias or None) by the library."""
    base = lora.org_weight
    if isinstance(lora, (LohaModule, LokrModule)):
        total = base + lora.get_weight(base.shape) * (1 if lora.wd else s)
        return (lora.apply_weight_decompose(total, s) if lora.wd else total), None
    return lora.get_merged_weight(s, base.shape, base.device)


def full(pipe, made, g, dtype):
    """FullModule holds the sum once it is applied, and writes the difference: modules made of that merge it."""
    for lora in made.loras:
        lora.apply_to()
        lora.weight.data += common.random(g, "diff", lora.weight)
        if lora.bias is not None:
            lora.bias.data += common.random(g, "diff_b", lora.bias)
    state = {
        f"{lora.lora_name}.{k}": v.to(dtype) for lora in made.loras for k, v in lora.state_dict().items()
    }
    for lora in made.loras:
        lora.restore()
    for at, lora in enumerate(made.loras):
        differences = [state.get(f"{lora.lora_name}.{k}") for k in ("diff", "diff_b")]
        differences = [d if d is None else d.float() for d in differences]
        made.loras[at] = make_module(FullModule, differences, lora.lora_name, lora.org_module[0])
    return state


def make(path, family, modules, algo, seed, dtype, strengths, names="kohya", **options):
    """Writes the file; returns the network, its pipeline, {file's name: module} and {strength: {tensor: merged}}."""
    pipe, g = common.pipeline(family), torch.Generator().manual_seed(seed)
    made = network(pipe, modules, algo, names == "lycoris", **options)
    assert len(made.loras) == len(modules), sorted(lora.lora_name for lora in made.loras)
    if algo == "full":
        state = full(pipe, made, g, dtype)
    else:
        randomise(made.loras, g, dtype)
        state = {
            f"{lora.lora_name}.{k}": v.to(dtype) for lora in made.loras for k, v in lora.state_dict().items()
        }
    rename = {lora.lora_name: lora.lora_name for lora in made.loras}
    if names == "ldm":
        rename = {name: convert_diffusers_name_to_compvis(name) for name in rename}
    if names == "kohya_oft":
        rename = {name: name.replace("lora_unet_", "oft_unet_") for name in rename}
    state = {
        f"{rename[k.split('.')[0]]}.{k.split('.', 1)[1]}": v.detach().contiguous() for k, v in state.items()
    }
    arguments = {
        k: v for k, v in options.items() if k not in ("lora_dim", "conv_lora_dim", "alpha", "conv_alpha")
    }
    save_file(
        state,
        path,
        {
            "ss_network_module": "networks.oft" if names == "kohya_oft" else "lycoris.kohya",
            "ss_network_dim": str(options.get("lora_dim", 4)),
            "ss_network_alpha": str(options.get("alpha", 1)),
            "ss_network_args": json.dumps({"algo": algo, **arguments}, sort_keys=True),
            "ss_base_model_version": {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}[family],
        },
    )
    common.settle(path)
    assert load_file(path).keys() == state.keys()
    expected = {}
    with torch.no_grad():
        modules = names_of(pipe, made.loras)
        for s in strengths:
            expected[s] = {}
            for lora in made.loras:
                w, b = merged(lora, s)
                expected[s][modules[lora.lora_name] + ".weight"] = w.float().contiguous()
                if b is not None:
                    expected[s][modules[lora.lora_name] + ".bias"] = b.float().contiguous()
    return made, pipe, {rename[name]: module for name, module in modules.items()}, expected
