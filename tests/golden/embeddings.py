#!/usr/bin/env python3
"""Textual inversions in the layouts that users have, and what diffusers' pipelines encode with them.

    python tests/golden/networks.py && python tests/golden/embeddings.py

writes embeddings/<name>.<extension> (the files), embeddings/index.json (prompts) and embeddings/expected.safetensors
(text encoder outputs); README.md explains the names.  Made with torch 2.13.0 (CPU), diffusers 0.42.1, transformers
5.23.0, safetensors 0.8.0, on one thread; other versions or processors may round differently.
"""
import json
import os
import shutil
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
OUT = HERE / "embeddings"
NETWORKS = HERE / "networks"
CLIP_L, CLIP_G = 32, 48  # widths of the tiny text encoders
PIPELINES = {"sd1": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline,
             "refiner": StableDiffusionXLImg2ImgPipeline}

CASES = [
    {"name": "safetensors", "model": "sd1", "prompt": "a photo of one mug, many colours", "negative": "halves"},
    {"name": "pickles", "model": "sd1", "prompt": "a1111 and token on a table", "negative": "bare, one bare mug"},
    {"name": "full", "model": "sd1", "prompt": "full", "negative": ""},
    {"name": "longest", "model": "sd1", "prompt": "two words, two mugs", "negative": "words of two"},
    {"name": "none", "model": "sd1", "prompt": "ones, tokenise a wordy mug", "negative": "fully"},
    {"name": "pair", "model": "sdxl", "prompt": "a pair of mugs", "negative": "blurry pickled"},
    {"name": "second", "model": "refiner", "prompt": "a pair of mugs", "negative": "blurry pickled"},
]


def vectors(seed, *shape):
    """Numbers as large as the token table's, exact in every type that the files have."""
    r = 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return r.bfloat16().float()


def a1111(name, values):
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": values}, "name": name, "step": 500,
            "sd_checkpoint": None, "sd_checkpoint_name": None}


def write_files():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    save_file({"<one>": vectors(1, CLIP_L)}, OUT / "one.safetensors")
    save_file({"emb_params": vectors(2, 5, CLIP_L).half()}, OUT / "many.safetensors")
    save_file({"anything": vectors(3, 2, CLIP_L).bfloat16()}, OUT / "halves.safetensors")
    save_file({"emb_params": vectors(4, 75, CLIP_L)}, OUT / "full.safetensors")
    save_file({"<two>": vectors(5, 1, CLIP_L)}, OUT / "two.safetensors")
    save_file({"<two-words>": vectors(6, 2, CLIP_L).double()}, OUT / "two words.safetensors")
    torch.save(a1111("another name", vectors(7, 3, CLIP_L)), OUT / "a1111.pt")
    torch.save({"<token>": vectors(8, CLIP_L)}, OUT / "token.bin")
    torch.save(vectors(9, 2, CLIP_L), OUT / "bare.pt")
    pair = {"clip_l": vectors(10, 2, CLIP_L), "clip_g": vectors(11, 2, CLIP_G)}
    save_file(pair, OUT / "pair.safetensors")
    torch.save({"clip_l": vectors(12, 3, CLIP_L).half(), "clip_g": vectors(13, 3, CLIP_G).half()}, OUT / "pickled.pt")


def load(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def single(data):
    """As load_textual_inversion wants it: a tensor, A1111's dict, or a dict of one entry."""
    return data if torch.is_tensor(data) or "string_to_param" in data else next(iter(data.values()))


def add_embeddings(pipe):
    """Every file that fits the pipeline, by its name."""
    for path in sorted(OUT.glob("*.*")):
        data = load(path)
        pair = isinstance(data, dict) and "clip_g" in data
        if pair != hasattr(pipe, "text_encoder_2"):
            continue
        if not pair:
            pipe.load_textual_inversion(single(data), token=path.stem)
            continue
        for part, encoder, tokenizer in (("clip_l", pipe.text_encoder, pipe.tokenizer),
                                         ("clip_g", pipe.text_encoder_2, pipe.tokenizer_2)):
            if encoder is not None:
                pipe.load_textual_inversion(data[part], token=path.stem, text_encoder=encoder, tokenizer=tokenizer)


def encode(pipe, case):
    """Negative, then positive, as the pipeline's UNet reads them."""
    found = pipe.encode_prompt(prompt=case["prompt"], negative_prompt=case["negative"], device="cpu",
                               num_images_per_prompt=1, do_classifier_free_guidance=True)
    result = {f"{case['name']}.context": torch.cat([found[1], found[0]])}
    if len(found) == 4:
        result[f"{case['name']}.pooled"] = torch.cat([found[3], found[2]])
    return result


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    write_files()
    expected = {}
    for model in PIPELINES:
        pipe = PIPELINES[model].from_pretrained(NETWORKS / model, torch_dtype=torch.float32)
        add_embeddings(pipe)
        for case in CASES:
            # "none" is what the words mean without embeddings: diffusers would find them inside other words.
            if case["model"] == model:
                plain = PIPELINES[model].from_pretrained(NETWORKS / model) if case["name"] == "none" else pipe
                expected |= encode(plain, case)
    (OUT / "index.json").write_text(json.dumps(CASES, indent=1) + "\n")
    save_file({k: v.contiguous().float() for k, v in expected.items()}, OUT / "expected.safetensors")


if __name__ == "__main__":
    main()
