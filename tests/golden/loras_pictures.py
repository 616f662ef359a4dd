"""Whole pictures with adapters: the tiny networks, and the sample model with its LoRA."""

import torch
from diffusers import StableDiffusionPipeline
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file, save_file

import loras_common as common
import pictures
from loras_common import OUT

STRENGTHS = (1.0, 0.5, -0.5)
# Beside one of every adapter at strength 1.
MORE = [("kohya_sd1", -0.5), ("diffusers_dora", 0.5), ("boft", 0.5)]
# Files that no library reads as they are: their pictures are those of the merged weights.
MERGED = ("omi", "kohya_plain_text")
ACME = [
    {"name": "acme_mug", "prompt": "an acme orange mug on a marble counter", "seed": 21},
    {"name": "acme_tote_bag", "prompt": "an acme green tote bag by a sunlit wall", "seed": 22},
]


def with_layers(goldens, entry, strength):
    """A pipeline with the layers of the library that owns the format; None where there is none."""
    name, family = entry["name"], entry["model"].split("/")[1]
    if name in goldens.lycoris_runs:
        made, pipe = goldens.lycoris_runs[name]
        for lora in made.loras:
            lora.multiplier = strength
            if lora.org_module[0].forward != lora.forward:  # not there from another strength
                lora.apply_to()
        return pipe
    # PEFT's own OFT layer folds turned patches of a 3x3 convolution into a picture again, which its merge does not.
    if entry["naming"] == "peft" and entry["algorithm"].startswith("OFT"):
        return None
    pipe = common.pipeline(family)
    if entry["naming"] == "peft":
        part = next(iter(entry["modules"].values())).split(".")[0]
        assert strength == 1
        setattr(pipe, part, PeftModel.from_pretrained(getattr(pipe, part), OUT / name).base_model.model)
    elif entry["library"] == "formula" or entry["naming"] in MERGED or entry["unmatched"]:
        return None
    elif entry["naming"] == "processors_bare":
        pipe.unet.load_lora_adapter(OUT, weight_name=entry["adapter"], prefix=None)
    else:
        pipe.load_lora_weights(OUT, weight_name=entry["adapter"], adapter_name="a")
        pipe.set_adapters(["a"], [strength])
    return pipe


def tiny_pictures(goldens):
    """Final latents of the tiny networks, by the libraries' own layers instead of merged weights where there are."""
    entries = {entry["name"]: entry for entry in goldens.index}
    plain = load_file(common.HERE / "pictures" / "tiny.safetensors")
    tensors, requests = {}, []
    for name, strength in [(name, 1.0) for name in entries] + MORE:
        entry = entries[name]
        family = entry["model"].split("/")[1]
        request = next(t for t in pictures.TINY if t["name"] == family)
        request = {"model": entry["model"], **pictures.DEFAULTS, **pictures.TINY_DEFAULTS, **request}
        request |= {"name": f"{name}_{strength}", "lora": name, "strength": strength}
        layers = with_layers(goldens, entry, strength)
        pipe = layers or with_merged(name, family, strength)
        pipe.set_progress_bar_config(disable=True)
        with torch.no_grad():
            latent, kept = pictures.run(pipe, request)
        assert torch.equal(kept["noise"], plain[f"{family}.noise"])
        if layers:
            with torch.no_grad():
                again, _ = pictures.run(with_merged(name, family, strength), dict(request))
            error = ((again - latent).norm() / latent.norm()).item()
            print(f"{name}: merged weights differ by {error:.1e}")
            assert error < 1e-4, f"{name}: merged weights make another picture ({error:.1e})"
        moved = ((latent - plain[f"{family}.latent"]).norm() / latent.norm()).item()
        assert moved > 0.1, f"{name} hardly changes the picture ({moved:.3f})"
        print(f"{request['name']}: latent moved by {moved:.2f} of its size", flush=True)
        tensors[request["name"] + ".latent"] = latent.contiguous()
        requests.append(request)
    return requests, tensors


def with_merged(name, family, strength):
    pipe, values = common.pipeline(family), load_file(OUT / f"{name}.expected.safetensors")
    with torch.no_grad():
        for key, value in values.items():
            if key.startswith(f"{strength}."):
                module, kind = key.removeprefix(f"{strength}.").rsplit(".", 1)
                getattr(common.module_of(pipe, module), kind).copy_(value)
    return pipe


def mockup_pictures():
    """The sample model with its LoRA, as PNG files and final latents."""
    pipe = StableDiffusionPipeline.from_pretrained(pictures.SAMPLES / "mockup", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pictures.use_scheduler(pipe, pictures.DEFAULTS, pipe.scheduler.config)
    pipe.load_lora_weights(pictures.SAMPLES / "loras", weight_name="acme.safetensors", adapter_name="acme")
    tensors, requests = {}, []
    for own in ACME:
        for strength in STRENGTHS:
            request = {"model": "mockup", **pictures.DEFAULTS, **pictures.MOCKUP_DEFAULTS, **own}
            request |= {"name": f"{own['name']}_{strength}", "lora": "acme", "strength": strength}
            pipe.set_adapters(["acme"], [strength])
            latent, _ = pictures.run(pipe, request)
            picture = (pictures.decoded(pipe, latent)[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)
            pixels = (picture * 255).round().to(torch.uint8).numpy()
            request["png"] = request["name"] + ".png"
            Image.fromarray(pixels).save(OUT / request["png"], optimize=True)
            tensors[request["name"] + ".latent"] = latent.contiguous()
            requests.append(request)
            print(request["name"], flush=True)
    return requests, tensors


def make(goldens):
    """Writes the pictures; returns what was asked for."""
    tiny, tiny_latents = tiny_pictures(goldens)
    mockup, mockup_latents = mockup_pictures()
    latents = dict(sorted((tiny_latents | mockup_latents).items()))
    save_file(latents, OUT / "pictures.safetensors", {"format": "pt"})
    return tiny + mockup
