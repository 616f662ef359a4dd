#!/usr/bin/env python3
"""Encodes the data set once: <work>/latents.npy and <work>/latents_brand.npy (float16 means of the posterior).

Also records scaling_factor = 1 / std of the latents in <work>/vae.pt, beside the weights.
"""
import numpy as np
import torch

import common


@torch.no_grad()
def main():
    a = common.arguments(__doc__, count=16000, brand_count=2400)
    log = common.Log(a.work / "latents.log")
    saved, vae = torch.load(a.work / "vae.pt"), common.new_vae().eval().to(memory_format=torch.channels_last)
    vae.load_state_dict(saved["vae"])
    for source, target, count in (("brand", "latents_brand", a.brand_count), ("images", "latents", a.count)):
        pictures = np.load(a.work / f"{source}.npy", mmap_mode="r")[:count]
        out = np.empty((len(pictures), 4, 32, 32), np.float16)
        for i in range(0, len(pictures), 8):
            with common.autocast():
                out[i : i + 8] = (
                    vae.encode(common.to_float(pictures[i : i + 8])).latent_dist.mode().half().numpy()
                )
        np.save(a.work / f"{target}.npy", out)
        log(f"{target}: {len(out)} encoded")
    plain = out.astype(np.float32)
    scale = float(1 / plain.std())
    log(
        f"std {plain.std():.4f}, channel means {plain.mean((0, 2, 3)).round(3).tolist()}, "
        f"channel stds {plain.std((0, 2, 3)).round(3).tolist()}, scaling_factor {scale:.5f}"
    )
    torch.save({"vae": saved["vae"], "scaling_factor": scale}, a.work / "vae.pt")


if __name__ == "__main__":
    main()
