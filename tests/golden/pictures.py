#!/usr/bin/env python3
"""Whole pictures by diffusers' pipelines in f32: the tiny networks of networks.py and the sample model.

    python tests/golden/networks.py && python tests/golden/pictures.py

writes pictures/requests.json (what was asked for), pictures/tiny.safetensors, pictures/mockup.safetensors and one PNG
for each picture of the sample model; README.md explains the names.  Made with torch 2.13.0 (CPU), diffusers 0.42.1,
transformers 5.23.0, peft 0.21.2, safetensors 0.8.0, pillow 13.0.0, on one thread; other versions or processors may
round differently.
"""
import json
import os
import shutil
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
OUT = HERE / "pictures"
SAMPLES = HERE.parent.parent / "samples"

TINY = [
    {"name": "sd1", "prompt": "a red mug on a wooden table", "seed": 1},
    {"name": "sd2", "prompt": "a blue bottle", "seed": 2},
    {"name": "sdxl", "prompt": "a green can in a dark studio", "seed": 3},
    {"name": "refiner", "prompt": "a yellow box", "seed": 4, "strength": 0.6, "steps": 10},
]
TINY_DEFAULTS = {"negative": "blurry, low quality", "width": 104, "height": 72, "steps": 4}
MOCKUP = [
    {"name": "mug", "prompt": "a red mug on a wooden table, studio light", "seed": 0},
    {"name": "bottle", "prompt": "product photo of a blue bottle, marble counter", "seed": 1},
    {"name": "can", "prompt": "a green can in a dark studio", "seed": 2},
    {"name": "box", "prompt": "a yellow box on a pink backdrop", "seed": 3},
    {"name": "t_shirt", "prompt": "a black t-shirt by a sunlit wall", "seed": 4},
    {"name": "tote_bag", "prompt": "a purple tote bag on a blue backdrop", "seed": 5},
    {"name": "jar", "prompt": "a white jar on a podium", "seed": 6},
    {"name": "candle", "prompt": "an orange candle in a white studio", "seed": 4294967303},
    {
        "name": "karras",
        "prompt": "a teal mug on a marble counter",
        "seed": 8,
        "sampler": "dpmpp_2m",
        "schedule": "karras",
    },
    {
        "name": "karras_rounded",
        "prompt": "a teal mug on a marble counter",
        "seed": 8,
        "sampler": "dpmpp_2m",
        "schedule": "karras",
        "rounded_timesteps": True,
    },
    {
        "name": "img2img",
        "prompt": "a blue mug on a wooden table",
        "seed": 9,
        "init": "mug.png",
        "strength": 0.6,
    },
    {"name": "acme_0.5", "prompt": "an acme teal mug on a wooden table", "seed": 10, "lora": 0.5},
    {"name": "acme_1.0", "prompt": "an acme red can on a blue backdrop", "seed": 11, "lora": 1.0},
    {"name": "acme_-0.5", "prompt": "an acme white t-shirt on a blue backdrop", "seed": 12, "lora": -0.5},
]
MOCKUP_DEFAULTS = {"negative": "", "width": 256, "height": 256, "steps": 20}
DEFAULTS = {"cfg": 5.0, "sampler": "euler", "schedule": "uniform"}


class KarrasScheduler(DPMSolverMultistepScheduler):
    """DPM-Solver++ (2M) at Karras' noise levels.  diffusers rounds their timesteps to whole numbers; k-diffusion and
    the programs that follow it do not, and neither does this."""

    def set_timesteps(self, num_inference_steps=None, device=None, **more):
        super().set_timesteps(num_inference_steps, device, **more)
        alpha = self.alphas_cumprod.numpy()
        levels = np.log(((1 - alpha) / alpha) ** 0.5)
        steps = [self._sigma_to_t(s, levels) for s in self.sigmas[:-1].double().numpy()]
        self.timesteps = torch.tensor(np.array(steps), dtype=torch.float32)


def use_scheduler(pipe, request, config):
    if request["sampler"] == "euler":
        pipe.scheduler = EulerDiscreteScheduler.from_config(config)
    else:
        kind = DPMSolverMultistepScheduler if request.get("rounded_timesteps") else KarrasScheduler
        pipe.scheduler = kind.from_config(config, use_karras_sigmas=True)


def encoded(pipe, picture):
    """The scaled mean of the posterior of a picture [1,3,H,W] in -1..1."""
    with torch.no_grad():
        return pipe.vae.encode(picture).latent_dist.mode() * pipe.vae.config.scaling_factor


def run(pipe, request, start=None):
    """Final latents, and what a test needs to repeat the picture.  `start` holds the latents of an initial picture."""
    shape = (1, 4, request["height"] // 8, request["width"] // 8)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(request["seed"]))
    size = {"height": request["height"], "width": request["width"]}
    if start is not None:
        own = {} if "XL" not in type(pipe).__name__ else {"original_size": tuple(size.values())}
        # with latents as the image, the generator's first draw is the noise above
        generator = torch.Generator().manual_seed(request["seed"])
        own |= {"image": start, "strength": request["strength"], "generator": generator}
    else:
        own = {"latents": noise.clone(), **size}
    latent = pipe(
        request["prompt"],
        negative_prompt=request["negative"],
        num_inference_steps=request["steps"],
        guidance_scale=request["cfg"],
        output_type="latent",
        **own,
    ).images
    s = pipe.scheduler
    taken = s.timesteps if start is None else s.timesteps[-int(request["steps"] * request["strength"]) :]
    request["timesteps"] = [round(float(t), 6) for t in taken]
    request["sigmas"] = [float(v) for v in s.sigmas[-len(taken) - 1 :]]
    tensors = {"noise": noise, "latent": latent}
    if start is None:
        request["noise_scale"] = (request["sigmas"][0] ** 2 + 1) ** 0.5
    else:
        request["noise_scale"] = request["sigmas"][0]
        tensors["start"] = start
    return latent, tensors


def decoded(pipe, latent):
    with torch.no_grad():
        return pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample


def ids(tokenizer, text):
    kind = {"padding": "max_length", "max_length": 77, "truncation": True, "return_tensors": "pt"}
    return tokenizer(text, **kind).input_ids.int()


def tiny():
    kinds = {"sdxl": StableDiffusionXLPipeline, "refiner": StableDiffusionXLImg2ImgPipeline}
    tensors, requests = {}, []
    for own in TINY:
        request = {"model": f"networks/{own['name']}", **DEFAULTS, **TINY_DEFAULTS, **own}
        pipe = kinds.get(own["name"], StableDiffusionPipeline).from_pretrained(
            HERE / request["model"], dtype=torch.float32
        )
        pipe.set_progress_bar_config(disable=True)
        start, more = None, {}
        if "strength" in own:
            g = torch.Generator().manual_seed(own["seed"] + 100)
            source = torch.randint(0, 256, (1, 3, request["height"], request["width"]), generator=g)
            start = encoded(pipe, source / 127.5 - 1)
            more["source"] = source.to(torch.uint8)
        latent, kept = run(pipe, request, start)
        kept |= more
        kept["decoded"] = decoded(pipe, latent)
        kept["picture"] = (kept["decoded"] / 2 + 0.5).clamp(0, 1)
        for part in ("tokenizer", "tokenizer_2"):
            if getattr(pipe, part, None) is not None:
                kept[part + ".ids"] = ids(getattr(pipe, part), request["prompt"])
                kept[part + ".negative_ids"] = ids(getattr(pipe, part), request["negative"])
        tensors |= {f"{own['name']}.{k}": v.contiguous() for k, v in kept.items()}
        requests.append(request)
        print(
            own["name"],
            "latent deviation %.3f, picture mean %.3f" % (latent.std(), kept["picture"].mean()),
            flush=True,
        )
    save_file(dict(sorted(tensors.items())), OUT / "tiny.safetensors")
    return requests


def mockup():
    pipe = StableDiffusionPipeline.from_pretrained(SAMPLES / "mockup", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    config, tensors, requests = pipe.scheduler.config, {}, []
    for own in MOCKUP:
        request = {"model": "mockup", **DEFAULTS, **MOCKUP_DEFAULTS, **own}
        use_scheduler(pipe, request, config)
        if "lora" in own:
            if not pipe.get_list_adapters():
                pipe.load_lora_weights(SAMPLES / "loras", weight_name="acme.safetensors", adapter_name="acme")
            pipe.set_adapters(["acme"], [own["lora"]])
        if "init" in own:
            pixels = torch.from_numpy(np.array(Image.open(OUT / own["init"])))
            start = encoded(pipe, pixels.permute(2, 0, 1)[None] / 127.5 - 1)
            latent, kept = run(StableDiffusionImg2ImgPipeline(**pipe.components), request, start)
        else:
            latent, kept = run(pipe, request)
        picture = (decoded(pipe, latent)[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)
        pixels = (picture * 255).round().to(torch.uint8).numpy()
        request["png"] = own["name"] + ".png"
        Image.fromarray(pixels).save(OUT / request["png"], optimize=True)
        tensors |= {f"{own['name']}.{k}": v.contiguous() for k, v in kept.items()}
        requests.append(request)
        print(own["name"], flush=True)
    save_file(dict(sorted(tensors.items())), OUT / "mockup.safetensors")
    return requests


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    requests = tiny() + mockup()
    (OUT / "requests.json").write_text(json.dumps(requests, indent=1) + "\n")
