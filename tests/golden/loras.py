#!/usr/bin/env python3
"""LoRA and its relatives: small adapter files in every naming and algorithm, and the weights that their own libraries
make of the tiny networks with them.

    python tests/golden/networks.py && python tests/golden/pictures.py && python tests/golden/loras.py

writes loras/<name>.safetensors or loras/<name>/ (the adapter), loras/<name>.expected.safetensors, loras/index.json,
and whole pictures with some of them; README.md explains names and formulas.  Every merged weight is compared with
loras_formula.py, which follows README.md's table.  Made with torch 2.13.0 (CPU), diffusers 0.42.1, transformers
5.23.0, peft 0.21.2, accelerate 1.15.0, lycoris-lora 4.1.3 (with einops 0.8.2, toml 0.10.2, tqdm 4.70.1), safetensors
0.8.0, pillow 13.0.0, on one thread; other versions or processors may round differently.
"""

import json
import os
import shutil

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import transformers

import loras_cases
import loras_pictures
from loras_common import OUT
from loras_goldens import Goldens

if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    goldens = Goldens()
    for kind in loras_cases.KINDS:
        kind(goldens)
    (OUT / "index.json").write_text(json.dumps(goldens.index, indent=1) + "\n")
    requests = loras_pictures.make(goldens)
    (OUT / "pictures.json").write_text(json.dumps(requests, indent=1) + "\n")
