#!/usr/bin/env python3
"""Writes the CLIP tokenizer (<work>/tokenizer) from the BPE table that the open-clip-torch wheel carries."""
import argparse
import gzip
import io
import json
import shutil
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def byte_symbols():
    """The 256 printable stand-ins that byte-level BPE uses, in CLIP's order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(rest))]


if __name__ == "__main__":
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--work", type=Path, default=HERE / "work")
    a.add_argument("--wheel", type=Path, help="open_clip_torch-*.whl (default: the one in --work)")
    a = a.parse_args()
    wheel = a.wheel or next(a.work.glob("open_clip_torch-*.whl"))
    packed = zipfile.ZipFile(wheel).read("open_clip/bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.open(io.BytesIO(packed), "rt", encoding="utf-8").read().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    symbols = byte_symbols()
    words = (
        symbols
        + [s + "</w>" for s in symbols]
        + [m.replace(" ", "") for m in merges]
        + ["<|startoftext|>", "<|endoftext|>"]
    )
    assert len(words) == len(set(words)) == 49408
    out = a.work / "tokenizer"
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.json").write_text(
        json.dumps({w: i for i, w in enumerate(words)}, ensure_ascii=False, separators=(",", ":")),
        encoding="utf-8",
    )
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (out / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    (out / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": 77,
                "do_lower_case": True,
                "add_prefix_space": False,
                "errors": "replace",
                **special,
            },
            indent=2,
        )
    )
    shutil.copy(HERE / "CLIP_LICENSE", out / "LICENSE")
    print("tokenizer:", len(words), "tokens")
