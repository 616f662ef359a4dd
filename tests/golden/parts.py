#!/usr/bin/env python3
"""Parts that come beside a model: a TAESD, and UNets that read more than a latent, all tiny and random.

    python tests/golden/networks.py && python tests/golden/parts.py

writes parts/taesd/ (a diffusers folder), parts/taesd_decoder.safetensors (its decoder under the authors' own names),
parts/inpaint/, parts/pix2pix/ and parts/lcm/ (folders of a UNet for networks/sd1) and parts/golden.safetensors: what the TAESD
gives, and latents of diffusers' pipelines with those UNets; README.md explains the names.  Made with torch 2.13.0
(CPU), diffusers 0.42.1, transformers 5.23.0, safetensors 0.8.0, on one thread; other versions or processors may round
differently.
"""
import os
import shutil
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from diffusers import (
    AutoencoderTiny,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file

from networks import fill
from pictures import encoded

HERE = Path(__file__).resolve().parent
OUT = HERE / "parts"
BASE = HERE / "networks" / "sd1"
HEIGHT, WIDTH, STEPS, CFG = 72, 104, 4, 5.0


def half(folder):
    """Rewrites the weights as half precision, which they are exact in."""
    path = folder / "diffusion_pytorch_model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, {"format": "pt"})


def taesd():
    widths = [16] * 4
    model = fill(AutoencoderTiny(encoder_block_out_channels=widths, decoder_block_out_channels=widths), 300)
    model.save_pretrained(OUT / "taesd")
    half(OUT / "taesd")
    state = load_file(OUT / "taesd" / "diffusion_pytorch_model.safetensors")
    prefix = "decoder.layers."
    own = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            number, rest = name[len(prefix) :].split(".", 1)
            own[f"{int(number) + 1}.{rest}"] = tensor  # behind the clamp, which is a layer there
    save_file(own, OUT / "taesd_decoder.safetensors")
    g = torch.Generator().manual_seed(301)
    latent = 2 * torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=g)
    picture = 2 * torch.rand(1, 3, HEIGHT, WIDTH, generator=g) - 1
    with torch.no_grad():
        return {
            "taesd.in.latent": latent,
            "taesd.out.picture": model.decode(latent).sample,
            "taesd.in.picture": picture,
            "taesd.out.latent": model.encode(picture).latents,
        }


def unet(name, seed, **other):
    config = dict(UNet2DConditionModel.load_config(BASE / "unet"), **other)
    model = fill(UNet2DConditionModel.from_config(config), seed)
    model.save_pretrained(OUT / name)
    half(OUT / name)
    return model


def init():
    """A picture of bytes, and a mask of whole latents: white to the right of a slanted line."""
    g = torch.Generator().manual_seed(310)
    picture = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH), generator=g)
    y, x = torch.meshgrid(torch.arange(HEIGHT // 8), torch.arange(WIDTH // 8), indexing="ij")
    mask = (x + y > 9).float()
    return picture, mask.repeat_interleave(8, 0).repeat_interleave(8, 1)[None, None]


def pipeline(kind, own):
    pipe = kind.from_pretrained(BASE, unet=own, dtype=torch.float32) if own else kind.from_pretrained(
        BASE, dtype=torch.float32
    )
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


COMMON = {"num_inference_steps": STEPS, "guidance_scale": CFG, "output_type": "latent"}
WORDS = {"prompt": "a red mug on a wooden table", "negative_prompt": "blurry, low quality"}


def inpaint(own, picture, mask):
    pipe = pipeline(StableDiffusionInpaintPipeline, own)
    pixels = picture / 127.5 - 1
    # the means of the posteriors, which the pipeline takes in place of its samples
    return pipe(
        image=encoded(pipe, pixels),
        mask_image=mask,
        masked_image_latents=encoded(pipe, pixels * (mask < 0.5)),
        strength=0.75,
        height=HEIGHT,
        width=WIDTH,
        generator=torch.Generator().manual_seed(21),
        **WORDS,
        **COMMON,
    ).images


def pix2pix(own, picture):
    pipe = pipeline(StableDiffusionInstructPix2PixPipeline, own)
    noise = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(22))
    return pipe(
        image=encoded(pipe, picture / 127.5 - 1) / pipe.vae.config.scaling_factor,
        image_guidance_scale=1.5,
        latents=noise,
        **WORDS,
        **COMMON,
    ).images


def consistency(own):
    """One step, whose noise level does not depend on the schedule."""
    pipe = pipeline(LatentConsistencyModelPipeline, own)
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    noise = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(23))
    return pipe(
        prompt=WORDS["prompt"], latents=noise, height=HEIGHT, width=WIDTH, **dict(COMMON, num_inference_steps=1)
    ).images


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    tensors = taesd()
    picture, mask = init()
    nine, eight = unet("inpaint", 320, in_channels=9), unet("pix2pix", 330, in_channels=8)
    with torch.no_grad():
        tensors |= {
            "init.picture": picture.to(torch.uint8),
            "init.mask": (mask * 255).to(torch.uint8),
            "inpaint.latent": inpaint(nine, picture, mask),
            "inpaint_plain.latent": inpaint(None, picture, mask),
            "lcm.latent": consistency(unet("lcm", 340, time_cond_proj_dim=24)),
            "pix2pix.latent": pix2pix(eight, picture),
        }
    save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / "golden.safetensors", {"format": "pt"})
    print({k: "%.3f" % v.float().std() for k, v in tensors.items()})
