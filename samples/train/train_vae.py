#!/usr/bin/env python3
"""Trains the autoencoder on crops, then on whole pictures, and caches the latents of the data set.

Loss: L1 at three scales, L1 of the picture's gradients (crisp edges) and a tiny KL term.  Up to --noise standard
deviations of noise are added to the latents: a small diffusion model will not hit them exactly, and the decoder must
not turn its errors into blotches.
Writes <work>/vae.pt (moving average of the weights).
"""
import numpy as np
import torch
import torch.nn.functional as F

import common


def pyramid_loss(y, x):
    loss = 0
    for scale in range(3):
        loss = loss + F.l1_loss(y, x)
        if scale < 2:
            y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
    return loss


def edge_loss(y, x):
    d = y - x
    return (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()


def psnr(vae, pictures):
    """Mean PSNR in dB of whole pictures through encoder mean and decoder."""
    total = 0
    with torch.no_grad(), common.autocast():
        for i in range(0, len(pictures), 8):
            x = common.to_float(pictures[i : i + 8])
            y = vae.decode(vae.encode(x).latent_dist.mode()).sample.float().clamp(-1, 1)
            total += (10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).sum().item()
    return total / len(pictures)


def crops(data, rng, count, size):
    """Random crops; three of four look at the middle, where the product is."""
    out = np.empty((count, size, size, 3), np.uint8)
    span = 256 - size
    for i in range(count):
        picture = data[rng.integers(len(data))]
        if span and rng.random() < 0.75:
            y, x = np.clip(rng.normal((0.60 * span, 0.5 * span), 0.22 * span), 0, span).astype(int)
        else:
            y, x = rng.integers(span + 1, size=2)
        out[i] = picture[y : y + size, x : x + size]
    return out


def main():
    a = common.arguments(
        __doc__,
        steps=3900,
        whole_steps=200,
        batch=20,
        crop=64,
        lr=2.5e-3,
        kl=1e-3,
        edge=1.0,
        noise=0.2,
        save_every=1000,
    )
    log = common.Log(a.work / "vae.log")
    data, brand = (np.load(a.work / f"{n}.npy", mmap_mode="r") for n in ("images", "brand"))
    held_out = np.concatenate([data[-48:], brand[-16:]])
    train = data[:-48]
    rng = np.random.default_rng(a.seed)
    vae = common.new_vae().to(memory_format=torch.channels_last)
    average = common.Average(vae, 0.998)
    optimizer = common.Muon(vae, a.lr)
    log(f"vae: {sum(p.numel() for p in vae.parameters()) / 1e6:.2f} M parameters")
    total, sums = a.steps + a.whole_steps, np.zeros(4)
    for step in range(total):
        common.learning_rate(optimizer, a.lr, step, total)
        whole = (
            step >= a.steps
        )  # the last steps see whole pictures, so that the attention layers meet 1024 tokens
        count, size = (2, 256) if whole else (a.batch, a.crop)
        source = brand if rng.random() < 0.1 else train
        x = common.to_float(crops(source, rng, count, size))
        with common.autocast():
            q = vae.encode(x).latent_dist
            z = q.sample()
            z = z + z.detach().std() * a.noise * torch.rand(count, 1, 1, 1) * torch.randn_like(z)
            y = vae.decode(z).sample
        y, mean, logvar = y.float(), q.mean.float(), q.logvar.float()
        rec, edge = pyramid_loss(y, x), edge_loss(y, x)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = rec + a.edge * edge + a.kl * kl
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update(vae)
        sums += rec.item(), edge.item(), kl.item(), logvar.mul(0.5).exp().mean().item()
        if (step + 1) % 100 == 0:
            log("step %5d  l1 %.4f  edge %.4f  kl %.2f  sigma %.3f" % (step + 1, *(sums / 100)))
            sums[:] = 0
        if (step + 1) % a.save_every == 0 or step + 1 == total:
            log(f"step {step + 1:5d}  held-out PSNR {psnr(average.model, held_out):.2f} dB")
            torch.save({"vae": average.model.state_dict()}, a.work / "vae.pt")


if __name__ == "__main__":
    main()
