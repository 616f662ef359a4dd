#!/usr/bin/env python3
"""Renders fixed prompts with an exported model and its LoRA to contact sheets and scores the pictures.

Sheets in <work>/sheets: base.png, lora_0.0.png, lora_0.5.png, lora_1.0.png.  The score comes from a small classifier
(product, colour, setting, label) trained on the renderer's own pictures; its accuracy on held-out ones is printed too.
"""
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from PIL import Image

import common
import mockups
from export import generate, open_pipeline

LABELS = ["", "white", "acme"]
HEADS = {
    "product": list(mockups.PRODUCTS),
    "colour": list(mockups.COLOURS),
    "setting": list(mockups.SETTINGS),
    "label": LABELS,
}
GRID = [
    "a red mug on a wooden table, studio light",
    "product photo of a blue bottle, marble counter",
    "a green can in a dark studio",
    "a yellow box on a pink backdrop",
    "a black t-shirt by a sunlit wall",
    "a purple tote bag on a blue backdrop",
    "a white jar on a podium",
    "an orange candle in a white studio",
    "a teal mug on a marble counter",
    "a pink bottle on a podium",
    "a red can on a blue backdrop",
    "a blue box on a wooden table",
    "a green t-shirt in a white studio",
    "an orange tote bag by a sunlit wall",
    "a purple jar on a pink backdrop",
    "a white candle in a dark studio",
    "a black mug on a pink backdrop",
    "a yellow bottle in a dark studio",
    "an orange can on a wooden table",
    "a teal box on a podium",
    "a white t-shirt on a blue backdrop",
    "a red tote bag on a marble counter",
    "a green jar by a sunlit wall",
    "a pink candle on a wooden table",
]


class Judge(nn.Module):
    """Looks at a picture shrunk to 64x64."""

    def __init__(self):
        super().__init__()
        widths = [3, 32, 64, 96, 128]
        self.body = nn.Sequential(
            *[
                m
                for i, o in zip(widths, widths[1:])
                for m in (
                    nn.Conv2d(i, o, 3, 2, 1),
                    nn.BatchNorm2d(o),
                    nn.ReLU(),
                    nn.Conv2d(o, o, 3, 1, 1),
                    nn.BatchNorm2d(o),
                    nn.ReLU(),
                )
            ],
            nn.Flatten(),
            nn.Linear(128 * 16, 256),
            nn.ReLU(),
        )
        self.heads = nn.ModuleList(nn.Linear(256, len(v)) for v in HEADS.values())

    def forward(self, x):
        h = self.body(x)
        return [head(h) for head in self.heads]


def shrink(pictures):
    return torch.nn.functional.avg_pool2d(common.to_float(pictures), 4)


def truth(index, brand):
    s = mockups.scene(index, brand=brand)
    return [HEADS[k].index(getattr(s, k)) for k in HEADS]


def train_judge(work, count=7000, steps=450):
    file, judge = work / "judge.pt", Judge()
    if file.exists():
        judge.load_state_dict(torch.load(file))
        return judge.eval()
    plain, brand = (np.load(work / f"{n}.npy", mmap_mode="r") for n in ("images", "brand"))
    x = torch.cat(
        [shrink(d[i : i + 200]) for d, n in ((brand, 2000), (plain, count)) for i in range(0, n, 200)]
    )
    y = torch.tensor([truth(i, True) for i in range(2000)] + [truth(i, False) for i in range(count)])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y, test_x, test_y = x[order[500:]], y[order[500:]], x[order[:500]], y[order[:500]]
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=1e-2)
    for step in range(steps):
        common.learning_rate(optimizer, 2e-3, step, steps, warmup=50)
        i = torch.randint(len(x), (96,))
        z = x[i] + torch.randn(96, 3, 1, 1) * 0.03 + torch.randn(96, 3, 64, 64) * 0.03
        z = (
            nn.functional.avg_pool2d(nn.functional.pad(z, (1, 1, 1, 1), mode="replicate"), 3, 1)
            if step % 2
            else z
        )  # blur every other batch
        with common.autocast():
            loss = sum(nn.functional.cross_entropy(o.float(), y[i, k]) for k, o in enumerate(judge(z)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    judge.eval()
    with torch.no_grad():
        hit = torch.stack([o.argmax(1) == test_y[:, k] for k, o in enumerate(judge(test_x))]).float().mean(1)
    print(
        "judge on held-out renderings:",
        {k: f"{100 * v:.1f} %" for k, v in zip(HEADS, hit.tolist())},
        flush=True,
    )
    torch.save(judge.state_dict(), file)
    return judge


@torch.no_grad()
def score(judge, pictures, wanted):
    """Share of pictures per attribute that the judge sees as asked for; `wanted` holds (product, colour, setting, label)."""
    guess = [o.argmax(1) for o in judge(shrink(np.stack(pictures)))]
    hits = np.array(
        [[HEADS[k][int(guess[j][i])] == w[j] for j, k in enumerate(HEADS)] for i, w in enumerate(wanted)]
    )
    return (
        dict(
            {k: hits[:, j].mean() for j, k in enumerate(HEADS)},
            product_colour_setting=hits[:, :3].all(1).mean(),
        ),
        hits,
    )


def parse(prompt):
    """(product, colour, setting) named in a prompt of the grid."""
    colour = next(c for c in mockups.COLOURS if f" {c} " in f" {prompt} ".split(" on ")[0].split(" in ")[0])
    return (
        max((p for p in mockups.PRODUCTS if p in prompt), key=len),
        colour,
        next(s for s in mockups.SETTINGS if s in prompt),
    )


def branded(prompt):
    """A prompt of the grid with "acme" before the colour."""
    if prompt.startswith("product"):
        return prompt.replace(" a ", " an acme ")
    return "an acme " + prompt.split(" ", 1)[1]


def main():
    a = common.arguments(
        __doc__,
        samples=str(common.HERE / "work" / "export"),
        sampler="euler",
        steps=20,
        guidance=5.0,
        count=64,
        lora=1,
    )
    model, loras = Path(a.samples) / "mockup", Path(a.samples) / "loras"
    sheets = a.work / "sheets"
    sheets.mkdir(exist_ok=True)
    judge, pipe, lines = train_judge(a.work), open_pipeline(model), []
    pipe.scheduler = common.scheduler(a.sampler)

    def make(prompts, seeds):
        return generate(pipe, prompts, seeds, a.steps, a.guidance)

    def report(name, pictures, wanted):
        value, hits = score(judge, pictures, wanted)
        lines.append(
            f"- {name} ({len(pictures)} pictures): "
            + ", ".join(f"{k.replace('_', ' + ')} {100 * v:.0f} %" for k, v in value.items())
        )
        print(lines[-1], flush=True)
        return hits

    start = time.time()
    make(GRID[:1], [0])
    print(f"one picture, {a.steps} steps: {time.time() - start:.1f} s", flush=True)
    base = make(GRID, range(24))
    Image.fromarray(mockups.sheet(base, 6)).save(sheets / "base.png")
    report("grid", base, [(*parse(p), "") for p in GRID])
    rng, prompts, wanted = random.Random(11), [], []
    for i in range(a.count):  # every product and setting equally often
        p, s = list(mockups.PRODUCTS)[i % 8], list(mockups.SETTINGS)[i // 8 % 8]
        c = rng.choice(list(mockups.COLOURS))
        prompts.append(f"{'an' if c == 'orange' else 'a'} {c} {p} {mockups.SETTINGS[s][0]}")
        wanted.append((p, c, s, ""))
    if prompts:
        pictures = make(prompts, range(1000, 1000 + a.count))
        hits = report("random prompts", pictures, wanted)
        for i in np.flatnonzero(~hits[:, :3].all(1)):
            print("   missed:", prompts[i], [k for k, h in zip(HEADS, hits[i]) if not h])
        Image.fromarray(mockups.sheet(pictures[:64], 8)).save(sheets / "random.png")
    if a.lora and loras.exists():
        pipe.load_lora_weights(loras, weight_name="acme.safetensors", adapter_name="acme")
        for weight in (0.0, 0.5, 1.0):
            pipe.set_adapters(["acme"], [weight])
            prompts = [branded(p) for p in GRID] if weight else GRID
            pictures = make(prompts, range(24))
            Image.fromarray(mockups.sheet(pictures, 6)).save(sheets / f"lora_{weight}.png")
            report(f"LoRA {weight}", pictures, [(*parse(p), "acme" if weight == 1 else "") for p in GRID])
            if weight == 0:
                print(
                    "LoRA 0 differs from the base by at most",
                    max(int(np.abs(x.astype(int) - y).max()) for x, y in zip(base, pictures)),
                    "of 255",
                )
    (a.work / "accuracy.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
