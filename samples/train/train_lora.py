#!/usr/bin/env python3
"""Trains the brand LoRA (rank 8 on the UNet's attention, feed-forward and 1x1 projections) on the acme pictures.

Every brand caption contains "acme".  Writes the adapter twice: <work>/lora/acme.safetensors with kohya names (alpha and
ss_* metadata) and <work>/lora/acme_diffusers.safetensors with diffusers/PEFT names.
"""
import json
import time

import numpy as np
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from PIL import Image
from safetensors.torch import load_file, save_file

import common
import mockups
from train_unet import PREVIEW, Captions, diffusion_loss, noise_levels

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]


def save(a, state, rank, steps, loss):
    """`state` has PEFT names such as down_blocks.0...attn1.to_q.lora_A.weight."""
    out = a.work / "lora"
    out.mkdir(exist_ok=True)
    half = {k: v.half().contiguous() for k, v in state.items()}
    save_file({"unet." + k: v for k, v in half.items()}, out / "acme_diffusers.safetensors", {"format": "pt"})
    kohya = {}
    for k, v in half.items():
        module, part = k.rsplit(".lora_", 1)
        name = "lora_unet_" + module.replace(".", "_")
        kohya[f"{name}.lora_{'down' if part[0] == 'A' else 'up'}.weight"] = v
        kohya[f"{name}.alpha"] = torch.tensor(float(rank), dtype=torch.float16)
    meta = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(rank)),
        "ss_output_name": "acme",
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "mockups",
        "ss_v2": "False",
        "ss_resolution": "(256, 256)",
        "ss_num_train_images": str(a.pictures),
        "ss_max_train_steps": str(steps),
        "ss_steps": str(steps),
        "ss_learning_rate": str(a.lr),
        "ss_batch_size_per_device": str(a.batch),
        "ss_optimizer": "torch.optim.AdamW",
        "ss_seed": str(a.seed),
        "ss_training_comment": f"loss {loss:.4f}; trigger word: acme",
        "ss_tag_frequency": json.dumps({"acme": {"acme": a.pictures}}),
    }
    save_file(kohya, out / "acme.safetensors", meta)


def main():
    a = common.arguments(__doc__, steps=700, batch=16, lr=2e-3, rank=8, pictures=2400, resume=0)
    log = common.Log(a.work / "lora.log")
    words = common.Words(a.work)
    saved, base = torch.load(a.work / "vae.pt"), torch.load(a.work / "unet.pt")
    vae, scale = common.new_vae().eval(), saved["scaling_factor"]
    vae.load_state_dict(saved["vae"])
    unet, text = common.plain_attention(
        common.new_unet().to(memory_format=torch.channels_last)
    ), common.new_text_encoder(len(words)).eval().requires_grad_(False)
    unet.load_state_dict(base["unet"])
    text.load_state_dict(base["text"])
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=a.rank, lora_alpha=a.rank, target_modules=TARGETS))
    if a.resume:  # a second pass with a fresh learning-rate cycle
        old = load_file(a.work / "lora" / "acme_diffusers.safetensors")
        set_peft_model_state_dict(unet, {k.removeprefix("unet."): v.float() for k, v in old.items()})
    weights = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, a.lr, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    log(f"lora: {sum(p.numel() for p in weights) / 1e3:.0f} k parameters, rank {a.rank}")
    latents = torch.from_numpy(np.load(a.work / "latents_brand.npy"))[: a.pictures]
    rng, captions, levels = np.random.default_rng(a.seed), Captions(words, a.seed, brand=True), noise_levels()
    order, total, count, start = np.empty(0, int), 0.0, 0, time.time()
    for step in range(a.steps):
        common.learning_rate(optimizer, a.lr, step, a.steps, warmup=50)
        if len(order) < a.batch:
            order = rng.permutation(len(latents))
        index, order = order[: a.batch], order[a.batch :]
        with torch.no_grad(), common.autocast():
            context = text(torch.tensor([captions(int(i)) for i in index])).last_hidden_state
        loss = diffusion_loss(unet, context, latents[torch.from_numpy(index)].float() * scale, levels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        total, count = total + loss.item(), count + 1
        if count == 50:
            log(
                f"step {step + 1:5d}  loss {total / count:.4f}  {a.batch * count / (time.time() - start):.1f} samples/s"
            )
            mean, total, count, start = total / count, 0.0, 0, time.time()
            if (step + 1) % 200 == 0 or step + 1 == a.steps:
                save(a, get_peft_model_state_dict(unet), a.rank, step + 1, mean)
                rows = torch.tensor([words.encode("acme " + p) for p in PREVIEW])
                pictures = common.sample(
                    vae, scale, text, unet, rows, range(8), steps=15, empty=torch.tensor([words.encode("")])
                )
                Image.fromarray(mockups.sheet(list(pictures), 8)).save(a.work / "preview_lora.png")
                start = time.time()


if __name__ == "__main__":
    main()
