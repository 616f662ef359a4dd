"""What `sdvk convert` and `sdvk merge` refuse."""
import json
import struct
import unittest

import refusals
from program import MODEL, ROOT
from refusals import TINY

LORA = ROOT / "samples/loras/acme.safetensors"


def tensors(**shapes):
    """A safetensors file of F32 zeros."""
    at, header = 0, {}
    for name, shape in shapes.items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def option_rows(t):
    for command in ("convert", "merge"):
        t.row([command], f"{command}: expected a model: a file or a diffusers folder")
        t.row([command, MODEL], f"{command}: --output is missing: the file to write, .safetensors or .gguf")
        t.row([command, MODEL, TINY], f"{command}: expected one model, found also '{TINY}'".replace(str(ROOT), "{root}"))
        t.row([command, MODEL, "-o", "x.gguf", "--typ", "f16"], "unknown option '--typ'; did you mean '--type'?")
        t.row([command, MODEL, "-o"], "-o: a value is missing")
        for rule in ("q8_0", "=q8_0", "attn="):
            t.row([command, MODEL, "-o", "x.gguf", "--rule", rule], f"--rule: expected PATTERN=TYPE, found '{rule}'")
        t.row([command, MODEL, "-o", "x.gguf", "--tensor-type-rules", "attn=q8_0,ff"],
              "--tensor-type-rules: expected PATTERN=TYPE, found 'ff'")
    t.row(["convert", MODEL, "-o", "x.gguf", "--lora", "x"], "unknown option '--lora'; --help lists the options")
    t.row(["merge", MODEL, "-o", "x.gguf"],
          "merge: expected a --lora to merge; `sdvk convert` changes types alone")
    t.row(["merge", MODEL, "-o", "x.gguf", "--lora-blocks", "1,1"], "--lora-blocks: expected a --lora before it")


def output_rows(t):
    t.file("there.gguf", b"mine")
    t.row(["convert", MODEL, "-o", "{tmp}/there.gguf"], "output: '{tmp}/there.gguf' exists, and is never replaced")
    t.row(["convert", MODEL, "-o", "/"], "output: expected a name that ends in .safetensors or .gguf, found '/'")
    t.row(["convert", MODEL, "-o", "model.ckpt"],
          "output: expected a name that ends in .safetensors or .gguf, found 'model.ckpt'")
    t.row(["convert", MODEL, "-o", ".gguf"],
          "output: expected a name that ends in .safetensors or .gguf, found '.gguf'")
    t.row(["convert", MODEL, "-o", "{tmp}/none/x.gguf"],
          "{tmp}/none/x.gguf: cannot be written: the folder {tmp}/none does not exist")


def model_rows(t):
    unet = "model.diffusion_model.input_blocks.0.0.weight"
    t.file("picture.safetensors", b"\x89PNG\r\n\x1a\n" + bytes(40))
    t.file("lora.safetensors", tensors(**{"lora_unet_x.lora_down.weight": [4, 4]}))
    t.file("long.safetensors", tensors(**{unet: [4, 4], "x" * 128: [4]}))
    t.row(["convert", "{tmp}/none", "-o", "x.gguf"], "{tmp}/none: cannot open the model: No such file or directory")
    t.row(["convert", "{tmp}/picture.safetensors", "-o", "x.gguf"],
          "{tmp}/picture.safetensors: expected a safetensors file, found a PNG picture")
    t.row(["convert", "{tmp}/lora.safetensors", "-o", "x.gguf"],
          "{tmp}/lora.safetensors: this is a LoRA, not a model; it needs a base model beside it")
    t.row(["convert", "{tmp}/long.safetensors", "-o", "x.gguf"],
          "{tmp}/long.safetensors: tensor " + "x" * 117 + "...: GGUF files hold names of at most 127 bytes, found 128")
    t.row(["convert", "mockup", "--models", "{tmp}", "-o", "x.gguf"],
          "'mockup': there is no folder for checkpoints in {tmp}")
    t.row(["merge", TINY, "-o", "x.gguf", "-l", "{tmp}/none.safetensors"],
          "{tmp}/none.safetensors: cannot open the LoRA: No such file or directory")


def rule_rows(t):
    def row(arguments, message, output="x.gguf"):
        t.row(["convert", TINY, "-o", output, *arguments], message)
    row(["--type", "q8"], "type: expected one of f32, f16, bf16, f8_e4m3, f8_e5m2, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, "
        "q4_1, q4_0, q3_k, q2_k, iq4_nl, iq4_xs, found 'q8'")
    row(["--type", "fp16"], "type: unknown type 'fp16'; did you mean 'f16'?")
    row(["--type", "q8_0"], "type: expected a type that safetensors files can hold, found 'q8_0'", "x.safetensors")
    row(["--rule", "attn=f8_e5m2"], "rule 'attn': expected a type that GGUF files can hold, found 'f8_e5m2'")
    row(["--rule", "attn(=f16"], "rule 'attn(': expected an extended regular expression: Unmatched ( or \\(")
    row(["--rule", "attn=f16", "--rule", "attention=f16"],
        "rule 'attention': fits none of the 996 tensors; the first is "
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight")
    row(["--tensor-type-rules", "attn=f16,attn1=f32"],
        "rule 'attn1': has no effect, as rules before it fit all of its 80 tensors")


class BadConvert(refusals.Case):
    def test_refusals(self):
        t = refusals.Table(self.tmp)
        option_rows(t)
        output_rows(t)
        model_rows(t)
        rule_rows(t)
        self.check(t)
        self.assertEqual((self.tmp / "there.gguf").read_bytes(), b"mine")


if __name__ == "__main__":
    unittest.main(verbosity=2)
