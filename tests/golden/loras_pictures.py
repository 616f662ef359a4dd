"""Whole pictures with adapters: the tiny networks, and the sample model with its LoRA."""

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

import loras_common as common
import pictures
from loras_common import OUT

STRENGTHS = (1.0, 0.5, -0.5)
PICTURES = [
    ("kohya_sd1", 1.0),
    ("kohya_sd1", -0.5),
    ("kohya_sdxl_ldm", 1.0),
    ("diffusers_dora", 0.5),
    ("lokr", 1.0),
    ("dora_output", 1.0),
    ("boft", 0.5),
    ("locon_mid_sdxl", 1.0),
    ("norm", 1.0),
]
ACME = [
    {"name": "acme_mug", "prompt": "an acme orange mug on a marble counter", "seed": 21},
    {"name": "acme_tote_bag", "prompt": "an acme green tote bag by a sunlit wall", "seed": 22},
]


def tiny_pictures(goldens):
    """Final latents of the tiny networks, by diffusers' and LyCORIS' own layers instead of merged weights."""
    entries = {entry["name"]: entry for entry in goldens.index}
    plain = load_file(common.HERE / "pictures" / "tiny.safetensors")
    tensors, requests = {}, []
    for name, strength in PICTURES:
        entry = entries[name]
        family = entry["model"].split("/")[1]
        request = next(t for t in pictures.TINY if t["name"] == family)
        request = {"model": entry["model"], **pictures.DEFAULTS, **pictures.TINY_DEFAULTS, **request}
        request |= {"name": f"{name}_{strength}", "lora": name, "strength": strength}
        if name in goldens.lycoris_runs:
            made, pipe = goldens.lycoris_runs[name]
            for lora in made.loras:
                lora.multiplier = strength
                lora.apply_to()
        else:
            pipe = common.pipeline(family)
            pipe.load_lora_weights(OUT, weight_name=entry["adapter"], adapter_name="a")
            pipe.set_adapters(["a"], [strength])
        pipe.set_progress_bar_config(disable=True)
        with torch.no_grad():
            latent, kept = pictures.run(pipe, request)
        assert torch.equal(kept["noise"], plain[f"{family}.noise"])
        with torch.no_grad():
            again, _ = pictures.run(with_merged(name, family, strength), dict(request))
        error = ((again - latent).norm() / latent.norm()).item()
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
