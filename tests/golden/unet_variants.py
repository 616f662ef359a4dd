#!/usr/bin/env python3
"""Tiny UNets of the shapes that distilled and special models have, with random weights, and what diffusers computes.

    python tests/golden/unet_variants.py

writes unet_variants/<name>/ (unet/config.json, unet/diffusion_pytorch_model.safetensors, golden.safetensors).  Made
with torch 2.13.0 (CPU), diffusers 0.42.1, safetensors 0.8.0, on one thread; other versions or processors may round
differently.
"""
import json
import os
import shutil
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parent / "unet_variants"
BATCH, HEIGHT, WIDTH, TOKENS = 2, 9, 13, 11
KINDS = {"C": ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), "D": ("DownBlock2D", "UpBlock2D")}
TEXT_TIME = dict(
    addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=48 + 6 * 8
)

# name: blocks (C with cross-attention, D without), what differs from the defaults below
VARIANTS = {
    "lcm": ("CD", dict(time_cond_proj_dim=24)),
    "inpaint": ("CD", dict(in_channels=9)),
    "no_mid": ("CC", dict(mid_block_type=None, layers_per_block=1)),
    "text_only": (
        "CCC",
        dict(
            block_out_channels=(8, 16, 16),
            attention_head_dim=(1, 2, 2),
            mid_block_type=None,
            layers_per_block=1,
            only_cross_attention=(True, False, False),
            use_linear_projection=True,
        ),
    ),
    "uneven": (
        "DCC",
        dict(
            block_out_channels=(8, 16, 16),
            attention_head_dim=(1, 2, 2),
            mid_block_type="UNetMidBlock2D",
            use_linear_projection=True,
            transformer_layers_per_block=(1, (2, 1), (1, 2)),
            reverse_transformer_layers_per_block=((1, 2, 3), (2, 1, 1), 1),
            **TEXT_TIME,
        ),
    ),
    "other_constants": (
        "CD",
        dict(layers_per_block=(1, 2), norm_eps=1e-3, flip_sin_to_cos=False, freq_shift=1, time_embedding_dim=24),
    ),
}


def fill(model, seed):
    """Random weights that keep activations near one; each is a half-precision number, so that files can be small."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if "norm" in name:
                value = (1 if name.endswith("weight") else 0) + 0.2 * r
            else:
                value = 0.1 * r if p.ndim == 1 else r * p[0].numel() ** -0.5
            p.copy_(value.half().float())
    return model.eval().requires_grad_(False)


def write(name, blocks, more, seed):
    options = dict(block_out_channels=(8, 16), attention_head_dim=(1, 2), norm_num_groups=4, cross_attention_dim=24)
    options |= more
    model = fill(
        UNet2DConditionModel(
            sample_size=HEIGHT,
            down_block_types=tuple(KINDS[b][0] for b in blocks),
            up_block_types=tuple(KINDS[b][1] for b in reversed(blocks)),
            **options,
        ),
        seed,
    )
    g = torch.Generator().manual_seed(seed + 1000)
    given = {
        "latent": torch.randn(BATCH, model.config.in_channels, HEIGHT, WIDTH, generator=g),
        "context": torch.randn(BATCH, TOKENS, model.config.cross_attention_dim, generator=g),
        "timestep": torch.tensor([789.25]),
    }
    added = {}
    if model.config.addition_embed_type:
        added["text_embeds"] = torch.randn(BATCH, 48, generator=g)
        added["time_ids"] = torch.tensor([[72.0, 104.0, 0.0, 8.0, 72.0, 104.0]] * BATCH)
    guidance = None
    if model.config.time_cond_proj_dim:
        guidance = given["guidance"] = torch.randn(BATCH, model.config.time_cond_proj_dim, generator=g)
    out = model(
        given["latent"],
        given["timestep"].expand(BATCH),
        given["context"],
        timestep_cond=guidance,
        added_cond_kwargs=added,
    ).sample
    folder = OUT / name / "unet"
    folder.mkdir(parents=True)
    config = {k: v for k, v in json.loads(model.to_json_string()).items() if k != "_name_or_path"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    tensors = {f"unet.b2.in.{k}": v for k, v in {**given, **added}.items()} | {"unet.b2.out": out}
    save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / name / "golden.safetensors", {"format": "pt"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    shutil.rmtree(OUT, ignore_errors=True)
    for number, (name, (blocks, more)) in enumerate(VARIANTS.items()):
        write(name, blocks, more, 70 + 10 * number)
