#!/usr/bin/env python3
"""Trains the UNet and, with it, the text encoder on cached latents (epsilon prediction, min-SNR-5 weighting).

The first --early-steps run without the attention blocks at full resolution, which doubles their speed.  One caption in
ten is empty, for classifier-free guidance; one in five has unknown words (zero embeddings) strewn in, so that words
the model never met do no harm.  Writes <work>/unet.pt and a preview sheet at every --save-every.
"""
import random
import time

import numpy as np
import torch
from PIL import Image

import common
import mockups

PREVIEW = [
    "a red mug on a wooden table, studio light",
    "product photo of a blue bottle, marble counter",
    "a green can in a dark studio",
    "yellow box, pink gradient backdrop",
    "a black t-shirt by a sunlit wall",
    "a purple tote bag on a blue backdrop",
    "a white jar on a podium",
    "an orange candle in a white studio",
]


class Captions:
    """Draws a fresh caption for a picture of the data set, as compact token ids."""

    def __init__(self, words, seed, brand=False):
        self.words, self.rng, self.brand = words, random.Random(seed), brand
        self.scenes = {}

    def __call__(self, index):
        r = self.rng
        if index not in self.scenes:
            self.scenes[index] = mockups.scene(index, brand=self.brand)
        text = "" if r.random() < 0.1 else mockups.caption(self.scenes[index], r)
        return self.words.encode(text, extra=r.randint(1, 5) if r.random() < 0.2 else 0, rng=r)


def noise_levels():
    """sqrt(alpha_bar), sqrt(1 - alpha_bar) and the min-SNR-5 weight of every timestep."""
    alpha = common.scheduler("pndm").alphas_cumprod
    snr = alpha / (1 - alpha)
    return alpha.sqrt(), (1 - alpha).sqrt(), snr.clamp(max=5) / snr


def low_noise(n, generator):
    """Slowly varying extra noise.  Stable Diffusion's schedule never reaches pure noise: without this a model reads the
    mean brightness of the picture through the strongest noise, and at sampling time, where the mean is always grey, it
    trusts that more than the prompt (dark studios come out beige)."""
    grid = torch.nn.functional.interpolate(
        torch.randn(n, 4, 2, 2, generator=generator), (32, 32), mode="bilinear"
    )
    return 0.12 * torch.randn(n, 4, 1, 1, generator=generator) + 0.10 * grid


def diffusion_loss(unet, context, x, levels, generator=None):
    """Weighted epsilon loss; the timesteps of a batch are spread evenly over the schedule."""
    signal, sigma, weight = levels
    n = len(x)
    t = ((torch.arange(n) + torch.rand(n, generator=generator)) * (1000 / n)).long().clamp(max=999)
    t = t[torch.randperm(n, generator=generator)]
    noise = torch.randn(x.shape, generator=generator) + low_noise(n, generator)
    pick = lambda table: table[t].view(-1, 1, 1, 1)
    noisy = (pick(signal) * x + pick(sigma) * noise).contiguous(memory_format=torch.channels_last)
    with common.autocast():
        out = unet(noisy, t, context).sample
    return ((out.float() - noise).square().mean((1, 2, 3)) * weight[t]).mean()


def main():
    a = common.arguments(
        __doc__, steps=2700, early_steps=2000, batch=32, lr=2e-3, save_every=400, decay=0.998
    )
    log = common.Log(a.work / "unet.log")
    words = common.Words(a.work)
    saved = torch.load(a.work / "vae.pt")
    vae, scale = common.new_vae().eval(), saved["scaling_factor"]
    vae.load_state_dict(saved["vae"])
    latents = torch.from_numpy(np.load(a.work / "latents.npy"))
    held = latents[-256:].float() * scale
    rng, captions, levels = np.random.default_rng(a.seed), Captions(words, a.seed), noise_levels()

    unet, text = common.plain_attention(
        common.new_unet().to(memory_format=torch.channels_last)
    ), common.new_text_encoder(len(words))
    with torch.no_grad():  # see top_attention
        for block in (unet.down_blocks[0], unet.up_blocks[-1]):
            for attention in block.attentions:
                attention.proj_out.weight.zero_()
                attention.proj_out.bias.zero_()
    common.top_attention(unet, False)
    model = torch.nn.ModuleDict({"unet": unet, "text": text})
    average = common.Average(model, a.decay)
    common.top_attention(average.model["unet"], False)
    optimizer = common.Muon(model, a.lr)
    log(
        f"unet {sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M, text {sum(p.numel() for p in text.parameters()) / 1e6:.2f} M parameters, {len(words)} words"
    )

    fixed = Captions(words, 5)
    held_rows = torch.tensor([fixed(len(latents) - 256 + i) for i in range(256)])
    empty, preview = torch.tensor([words.encode("")]), torch.tensor([words.encode(p) for p in PREVIEW])
    order, total, count, start = np.empty(0, int), 0.0, 0, time.time()
    for step in range(a.steps):
        if step == a.early_steps:
            for u in (unet, average.model["unet"]):
                common.top_attention(u, True)
        common.learning_rate(optimizer, a.lr, step, a.steps)
        if len(order) < a.batch:
            order = rng.permutation(len(latents) - 256)
        index, order = order[: a.batch], order[a.batch :]
        rows = torch.tensor([captions(int(i)) for i in index])
        x = latents[torch.from_numpy(index)].float() * scale
        with common.autocast():
            context = text(rows).last_hidden_state
        loss = diffusion_loss(unet, context, x, levels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        total, count = total + loss.item(), count + 1
        if count == 100:
            log(
                f"step {step + 1:5d}  loss {total / count:.4f}  {a.batch * count / (time.time() - start):.1f} samples/s"
            )
            total, count, start = 0.0, 0, time.time()
        if (step + 1) % a.save_every == 0 or step + 1 == a.steps:
            begin, m = time.time(), average.model
            with torch.no_grad(), common.autocast():
                g = torch.Generator().manual_seed(7)
                value = (
                    sum(
                        diffusion_loss(m["unet"], m["text"](r).last_hidden_state, z, levels, g).item()
                        for r, z in zip(held_rows.split(64), held.split(64))
                    )
                    / 4
                )
            torch.save(
                {"unet": m["unet"].state_dict(), "text": m["text"].state_dict(), "step": step + 1},
                a.work / "unet.pt",
            )
            pictures = common.sample(
                vae, scale, m["text"], m["unet"], preview, range(8), steps=15, empty=empty
            )
            Image.fromarray(mockups.sheet(list(pictures), 8)).save(a.work / "preview.png")
            log(f"step {step + 1:5d}  held-out loss {value:.4f}")
            start += time.time() - begin


if __name__ == "__main__":
    main()
