"""What is refused in model folders, tags of the prompt and embeddings."""
import json
import struct
import unittest

import refusals
from program import MODEL, ROOT
from refusals import TINY


def file(t, name, data):
    (t.folder / name).parent.mkdir(parents=True, exist_ok=True)
    t.file(name, data)


def one_tensor(vectors, width):
    """A safetensors file of zeros."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [vectors, width],
                               "data_offsets": [0, 4 * vectors * width]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * vectors * width)


def library_rows(t):
    """Names in a model folder."""
    for name in ("checkpoints/tiny.safetensors", "Stable-diffusion/tiny.ckpt", "loras/acme.safetensors"):
        file(t, "library/models/" + name, b"x")
    library, places = "{tmp}/library", "{tmp}/library/models/Stable-diffusion, {tmp}/library/models/checkpoints"

    def row(model, message, *more):
        t.row(["generate", "a", "--models", library, "-m", model, *more], message)
    row("tinny", f"'tinny': no checkpoint of this name in {places}; did you mean 'tiny'?")
    row("something", f"'something': no checkpoint of this name among the 2 in {places}")
    row("tiny", f"'tiny' may be {library}/models/Stable-diffusion/tiny.ckpt or "
        f"{library}/models/checkpoints/tiny.safetensors; write more of the name")
    row("./tiny", "./tiny: cannot open the model: No such file or directory")
    row("checkpoints/tiny", f"{library}/models/checkpoints/tiny.safetensors: expected a safetensors file, found "
        "only 1 bytes")
    t.row(["generate", "a", "--models", "none", "-m", MODEL],
          "none: cannot open the model folder: No such file or directory")
    t.row(["generate", "a", "--models", "{tmp}/library/models/loras/acme.safetensors", "-m", MODEL],
          "{tmp}/library/models/loras/acme.safetensors: expected a folder of models, found a file")
    t.row(["generate", "a", "--models", "{tmp}/library/models/loras", "-m", "tiny"],
          "'tiny': there is no folder for checkpoints in {tmp}/library/models/loras")
    row(TINY, f"'acne': no LoRA of this name in {library}/models/loras; did you mean 'acme'?", "--lora", "acne:0.5")
    row(TINY, f"{library}/models/loras/acme.safetensors: expected a safetensors file, found only 1 bytes", "--lora",
        "acme")
    row(TINY, "--lora: expected NAME[:STRENGTH[:TEXT]], found ':1'", "--lora", ":1")


def tag_rows(t):
    """LoRAs in the prompt."""
    file(t, "tags/loras/acme.safetensors", b"x")

    def row(prompt, message, models=("--models", "{tmp}/tags")):
        t.row(["generate", prompt, *models, "-m", TINY], message)
    row("a <lora:acme", "prompt: column 3: expected '>' at the end of <lora:...")
    row("ü <lora:acme:much>", "prompt: column 3: <lora:acme>: expected at most two numbers (UNet, text encoders), "
        "unet=, te= or lbw=, found 'much'")
    row("a <lora::1>", "prompt: column 3: expected <lora:NAME:STRENGTH>, found no name")
    row("<lora:acme:lbw=1,2,3>", "prompt: column 1: block weights: expected 12, 17, 20 or 26 numbers, found 3")
    row("a <hypernet:acme:1>", "prompt: column 3: hypernetworks are not supported: <hypernet:acme:1>")
    row("a <lora:acm:1>", "prompt: column 3: 'acm': no LoRA of this name in {tmp}/tags/loras; did you mean 'acme'?")
    row("a <lora:acme>", "prompt: column 3: 'acme': LoRAs have no names, as no model folder is given (--models DIR)",
        models=())


def embedding_rows(t):
    """Textual inversions."""
    golden = "{root}/tests/golden/embeddings"
    file(t, "many/embeddings/twin.safetensors", one_tensor(1, 32))
    file(t, "many/embeddings/deep/twin.safetensors", one_tensor(2, 32))
    file(t, "many/embeddings/broken.pt", b"PK\3\4 and so on")
    file(t, "wide.safetensors", one_tensor(80, 32))

    def row(message, *arguments, prompt="a"):
        t.row(["generate", prompt, "-m", TINY, *(a.replace("{root}", str(ROOT)) for a in arguments)], message)
    row("--embedding: expected a file or a name, found ''", "--embedding", "")
    row("none.pt: no such file", "-e", "none.pt")
    row(f"{golden}/pair.safetensors: expected vectors of width 32 for this model, found clip_l of width 32 and clip_g "
        "of width 48", "-e", f"{golden}/pair.safetensors")
    row(f"prompt: 'pair' is an embedding: {golden}/pair.safetensors: expected vectors of width 32 for this model, "
        "found clip_l of width 32 and clip_g of width 48", "--models", "{root}/tests/golden", prompt="a pair")
    row("{tmp}/wide.safetensors: tensor x: expected 1 to 75 vectors, found [80,32]", "-e", "{tmp}/wide.safetensors")
    row("{root}/samples/loras/acme.safetensors: expected an embedding, which holds one tensor or clip_l and clip_g, "
        "found 360 (lora_unet_down_blocks_0_attentions_0_proj_in.alpha, "
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight ...)", "-e",
        "{root}/samples/loras/acme.safetensors")
    row("{root}/docs/picture.png: expected a safetensors or PyTorch file, found a picture; embeddings in "
        "pictures are not supported", "-e", "{root}/docs/picture.png")
    row("prompt: 'twin' may be the embedding {tmp}/many/embeddings/deep/twin.safetensors or "
        "{tmp}/many/embeddings/twin.safetensors; --embedding chooses", "--models", "{tmp}/many", prompt="a twin mug")
    row("{tmp}/many/embeddings/broken.pt: the zip archive has no end: the file is cut short or damaged",
        "--models", "{tmp}/many", prompt="broken")
    row("'twim': no embedding of this name in {tmp}/many/embeddings; did you mean 'twin'?", "--models", "{tmp}/many",
        "-e", "twim")


class BadNames(refusals.Case):
    def check_rows(self, fill):
        table = refusals.Table(self.tmp)
        fill(table)
        self.check(table)

    def test_model_names(self):
        self.check_rows(library_rows)

    def test_tags(self):
        self.check_rows(tag_rows)

    def test_embeddings(self):
        self.check_rows(embedding_rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)
