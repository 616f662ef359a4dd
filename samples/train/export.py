#!/usr/bin/env python3
"""Writes the trained model to <out>/mockup, a diffusers folder in float16 with a model card, and its LoRA to <out>/loras.

Token rows that training never met are exactly zero, so the embedding table compresses to nothing.  Afterwards the
folder is loaded back with StableDiffusionPipeline and its pictures are compared with those of the float32 weights.
"""
import json
import re
import shutil
import time
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

import common
import mockups
from train_unet import PREVIEW


def full_text_encoder(small, words):
    """The compact text encoder with CLIP's whole table of 49408 rows."""
    c = small.config
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=c.hidden_size,
            intermediate_size=c.intermediate_size,
            num_hidden_layers=c.num_hidden_layers,
            num_attention_heads=c.num_attention_heads,
            max_position_embeddings=common.TOKENS,
            hidden_act=c.hidden_act,
            projection_dim=c.projection_dim,
            bos_token_id=49406,
            eos_token_id=common.EOS,
            pad_token_id=common.EOS,
        )
    ).eval()
    state = dict(small.state_dict())
    key = next(k for k in state if k.endswith("token_embedding.weight"))
    table = torch.zeros(49408, c.hidden_size)
    table[torch.tensor(words.ids)] = state[key][1:]
    model.load_state_dict(dict(state, **{key: table}))
    return model


def load_trained(work):
    """Trained float32 parts: vae, scaling factor, compact text encoder, unet, words."""
    words, saved, base = common.Words(work), torch.load(work / "vae.pt"), torch.load(work / "unet.pt")
    vae, unet, text = (
        common.new_vae().eval(),
        common.new_unet().eval(),
        common.new_text_encoder(len(words)).eval(),
    )
    vae.load_state_dict(saved["vae"])
    unet.load_state_dict(base["unet"])
    text.load_state_dict(base["text"])
    return vae, saved["scaling_factor"], text, unet, words, base["step"]


def half_text_file(file):
    """Newer releases of transformers drop the text_model. prefix that every Stable Diffusion loader expects."""
    state = load_file(file)
    state = {
        k if k.startswith("text_model.") else "text_model." + k: v
        for k, v in state.items()
        if not k.endswith("position_ids")
    }
    save_file(state, file, {"format": "pt"})


def generate(pipe, prompts, seeds, steps=20, guidance=5.0, batch=8):
    """uint8 pictures of a StableDiffusionPipeline, noise drawn per seed."""
    out = []
    for i in range(0, len(prompts), batch):
        g = [torch.Generator().manual_seed(int(s)) for s in seeds[i : i + batch]]
        out += list(
            pipe(
                prompts[i : i + batch],
                num_inference_steps=steps,
                guidance_scale=guidance,
                height=256,
                width=256,
                generator=g,
                output_type="np",
            ).images
        )
    return [(v * 255).round().astype(np.uint8) for v in out]


def open_pipeline(folder, dtype=torch.float32):
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = common.scheduler("euler")
    return pipe


def main():
    a = common.arguments(__doc__, out=str(common.HERE / "work" / "export"))
    out = Path(a.out) / "mockup"
    vae, scale, text, unet, words, steps = load_trained(a.work)
    vae.register_to_config(scaling_factor=scale)
    whole = full_text_encoder(text, words)
    trained = StableDiffusionPipeline(
        vae=vae,
        text_encoder=whole,
        tokenizer=words.tokenizer,
        unet=unet,
        scheduler=common.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    trained.set_progress_bar_config(disable=True)
    trained.scheduler = common.scheduler("euler")
    seeds = list(range(len(PREVIEW)))
    wanted = generate(trained, PREVIEW, seeds)
    gmac = {
        "unet": giga_macs(
            unet, torch.zeros(1, 4, 32, 32), torch.tensor(1), torch.zeros(1, common.TOKENS, 64)
        ),
        "vae decoder": giga_macs(vae.decoder, torch.zeros(1, 4, 32, 32)),
        "vae encoder": giga_macs(vae.encoder, torch.zeros(1, 3, 256, 256)),
    }

    shutil.rmtree(out, ignore_errors=True)
    for name, part in (("vae", vae), ("unet", unet), ("text_encoder", whole)):
        part.half().save_pretrained(out / name, safe_serialization=True)
    half_text_file(out / "text_encoder" / "model.safetensors")
    common.scheduler().save_pretrained(out / "scheduler")
    shutil.copytree(a.work / "tokenizer", out / "tokenizer")
    (out / "model_index.json").write_text(
        json.dumps(
            {
                "_class_name": "StableDiffusionPipeline",
                "_diffusers_version": diffusers.__version__,
                "feature_extractor": [None, None],
                "image_encoder": [None, None],
                "requires_safety_checker": False,
                "safety_checker": [None, None],
                "scheduler": ["diffusers", "EulerDiscreteScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"],
            },
            indent=2,
        )
        + "\n"
    )
    if (a.work / "lora").exists():
        shutil.copytree(a.work / "lora", Path(a.out) / "loras", dirs_exist_ok=True)

    got = generate(open_pipeline(out), PREVIEW, seeds)
    errors = [
        10 * np.log10(255**2 / max(1e-9, np.mean((x.astype(float) - y) ** 2))) for x, y in zip(wanted, got)
    ]
    files = [f for f in out.rglob("*") if f.is_file()]
    for f in files:
        f.chmod(0o644)
    size = {}
    for f in files:
        part = f.relative_to(out).parts[0]
        size[part] = size.get(part, 0) + f.stat().st_size
    figures = {
        "unet_steps": steps,
        "scaling_factor": scale,
        "fp16_vs_fp32_psnr_db": round(float(np.mean(errors)), 1),
        "fp16_vs_fp32_psnr_min_db": round(float(np.min(errors)), 1),
        "gmac": gmac,
        "bytes": size,
        "bytes_total": sum(size.values()),
        "parameters": {
            n: sum(p.numel() for p in m.parameters())
            for n, m in (("vae", vae), ("unet", unet), ("text_encoder", whole))
        },
    }
    (a.work / "export.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=2))
    card(a.work, out, figures)


@torch.no_grad()
def giga_macs(model, *inputs):
    """Multiply-accumulates of one call in units of 1e9: convolutions, linear layers and attention products."""
    total, fused = [0], torch.nn.functional.scaled_dot_product_attention

    def layer(m, _, out):
        total[0] += out.numel() * m.weight[0].numel()

    def attention(q, k, v, *args, **options):
        total[0] += 2 * q.numel() * k.shape[-2]
        return fused(q, k, v, *args, **options)

    hooks = [
        m.register_forward_hook(layer)
        for m in model.modules()
        if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    torch.nn.functional.scaled_dot_product_attention = attention
    model(*inputs)
    torch.nn.functional.scaled_dot_product_attention = fused
    for h in hooks:
        h.remove()
    return round(total[0] / 1e9, 3)


def last(file, pattern):
    """The last match of a pattern in a log, or a dash."""
    found = re.findall(pattern, file.read_text()) if file.exists() else []
    return found[-1] if found else "-"


def total(file, pattern):
    """Sum over the runs in a log of a figure that grows during each run (seconds, steps)."""
    values = [int(v) for v in re.findall(pattern, file.read_text())] if file.exists() else []
    return sum(v for v, after in zip(values, values[1:] + [0]) if after < v)


def card(work, out, f):
    """README.md of the model folder: card.md with every figure read from the logs."""

    def seconds(name):
        return total(work / f"{name}.log", r"(?m)^ *(\d+) s")

    def steps(name):
        return total(work / f"{name}.log", r"step +([0-9]+)")

    p, accuracy = f["parameters"], work / "accuracy.txt"
    fields = {
        "products": ", ".join(mockups.PRODUCTS),
        "colours": ", ".join(mockups.COLOURS),
        "settings": ", ".join(mockups.SETTINGS),
        "megabytes": f"{f['bytes_total'] / 1e6:.1f}",
        "vae_parameters": f"{p['vae'] / 1e6:.2f}",
        "vae_seconds": seconds("vae"),
        "vae_steps": steps("vae"),
        "vae_psnr": last(work / "vae.log", r"PSNR ([0-9.]+)"),
        "scale": f"{f['scaling_factor']:.5f}",
        "unet_parameters": f"{p['unet'] / 1e6:.2f}",
        "unet_seconds": seconds("unet"),
        "unet_steps": f["unet_steps"],
        "unet_loss": last(work / "unet.log", r"held-out loss ([0-9.]+)"),
        "text_parameters": f"{p['text_encoder'] / 1e6:.2f}",
        "words": len((work / "words.txt").read_text().split()),
        "lora_parameters": last(work / "lora.log", r"lora: ([0-9]+) k"),
        "lora_seconds": seconds("lora"),
        "lora_steps": steps("lora"),
        "lora_loss": last(work / "lora.log", r"loss ([0-9.]+)"),
        "unet_gmac": f"{f['gmac']['unet']:.2f}",
        "decoder_gmac": f"{f['gmac']['vae decoder']:.2f}",
        "encoder_gmac": f"{f['gmac']['vae encoder']:.2f}",
        "half_psnr": f["fp16_vs_fp32_psnr_db"],
        "accuracy": accuracy.read_text().strip() if accuracy.exists() else "Not measured yet.",
    }
    (out / "README.md").write_text((common.HERE / "card.md").read_text().format(**fields))


if __name__ == "__main__":
    main()
