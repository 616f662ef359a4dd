"""Damaged, foreign and odd files: models in one file and in folders, pictures, and files that may not be read."""
import json
import math
import os
import pathlib
import struct
import unittest
import zlib

import refusals
from program import ROOT
from refusals import TINY

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
SINGLE = ROOT / "tests/golden/networks/sd1.safetensors"
FIRST = "model.diffusion_model.input_blocks.0.0.weight"


# ---- broken files ----

def split(data):
    """Header and tensor bytes of a safetensors file."""
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def joined(header, tensors):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def tensor_changed(name, **fields):
    def change(data):
        header, tensors = split(data)
        header[name].update(fields)
        return joined(header, tensors)
    return change


def without(*names):
    def change(data):
        header, tensors = split(data)
        for name in names or [n for n in header if n != "__metadata__"]:
            del header[name]
        # Every byte must belong to a tensor, so the ones that stay are moved together.
        kept, at = b"", 0
        for name, t in header.items():
            if name != "__metadata__":
                begin, end = t["data_offsets"]
                kept += tensors[begin:end]
                t["data_offsets"] = [at, at + end - begin]
                at += end - begin
        return joined(header, kept)
    return change


def retyped(name, dtype, size):
    """The tensor with another type, of zeros."""
    def change(data):
        header, tensors = split(data)
        t = header[name]
        begin, end = t["data_offsets"]
        count = 1
        for n in t["shape"]:
            count *= n
        del header[name]
        data = without("none")(joined({**header, "none": {**t}}, tensors))
        header, tensors = split(data)
        header[name] = {"dtype": dtype, "shape": t["shape"],
                        "data_offsets": [len(tensors), len(tensors) + count * size]}
        return joined(header, tensors + bytes(count * size))
    return change


def reshaped(name, shape):
    return tensor_changed(name, shape=shape)


def doubled(header, gone):
    """The model's tensors of twice the width, as zeros: UNets in one file are taken to have 32 groups of channels in
    their norms, which the tiny one is too narrow for. The tensors whose names begin with `gone` are not there."""
    out, at = {}, 0
    for name, tensor in header.items():
        if not name.startswith((gone, "__metadata__")):
            shape = [n if n < 8 else 2 * n for n in tensor["shape"]]
            size = math.prod(shape) * {"F32": 4, "F16": 2, "I64": 8}[tensor["dtype"]]
            out[name] = {**tensor, "shape": shape, "data_offsets": [at, at + size]}
            at += size
    return joined(out, bytes(at))


def one_tensor(name, shape=(1,), dtype="F32", metadata=None):
    bytes_ = {"F32": 4, "F16": 2}[dtype]
    for n in shape:
        bytes_ *= n
    header = {name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, bytes_]}}
    return joined(header | ({"__metadata__": metadata} if metadata else {}), bytes(bytes_))


def field(name, value):
    """A JSON file with another value; None leaves the field out."""
    def change(data):
        found = json.loads(data)
        found.pop(name, None)
        if value is not None:
            found[name] = value
        return json.dumps(found).encode()
    return change


def cut(size):
    return lambda data: data[:size]


def to(data):
    return lambda _: data


def png(width, height, rows=None):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    rows = (b"\0" + bytes(3 * width)) * height if rows is None else rows
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


# ---- the table ----

class Table(refusals.Table):
    """Also keeps the paths of the models."""

    def __init__(self, folder):
        super().__init__(folder)
        self.models = []

    def refuse(self, name, message):
        self.models.append("{tmp}/" + name)
        self.row(["generate", "a", "-m", self.models[-1]], self.models[-1] + message)

    def model(self, name, data, message):
        """A single file that is no usable model; the message goes on after its path."""
        self.file(name, data)
        self.refuse(name, message)

    def copy(self, name, changes, message):
        """A copy of the tiny model in which the files named in `changes` are changed, or gone for None; the message
        goes on after its path."""
        copy = self.folder / name
        for source in TINY.rglob("*"):
            part = source.relative_to(TINY).as_posix()
            if source.is_dir() or part == "golden.safetensors":
                continue
            (copy / part).parent.mkdir(parents=True, exist_ok=True)
            if part not in changes:
                os.symlink(source, copy / part)
            elif changes[part]:
                self.file(f"{name}/{part}", changes[part](source.read_bytes()))
        self.refuse(name, message)
        return copy

    def configs(self, path, rows):
        """Folders in which one field of one JSON file is another, or gone for None."""
        for field_, value, message in rows:
            name = f"{pathlib.Path(path).parent}_{field_}_{len(self.rows)}"
            self.copy(name, {path: field(field_, value)}, message)


def picture_rows(t):
    good = png(64, 64)
    t.file("small.png", good)
    t.file("cut.png", good[:50])
    t.file("noise.png", good[:60] + b"\xff" * 20 + good[80:])
    t.file("huge.png", png(20000, 20000, b""))
    t.file("text.png", b"not a picture")
    t.file("empty.png", b"")
    t.file("turned.png", good[::-1])
    t.file("cut.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF")
    t.file("zeros.jpg", b"\xff\xd8\xff\xe0" + bytes(50))
    for name, message in [
            ("none.png", "none.png: no such file"),
            ("{tmp}", "{tmp}: expected a file, found a folder"),
            ("{tmp}/cut.png", "{tmp}/cut.png: broken PNG: the file is cut short"),
            ("{tmp}/noise.png", "{tmp}/noise.png: broken PNG: the file is cut short"),
            ("{tmp}/huge.png", "{tmp}/huge.png: broken PNG: Invalid IHDR data"),
            ("{tmp}/text.png", "{tmp}/text.png: expected a PNG or JPEG picture, found a file that begins with "
                               "6E 6F 74 20 61 20 70 69"),
            ("{tmp}/empty.png", "{tmp}/empty.png: the file is empty"),
            ("{tmp}/turned.png", "{tmp}/turned.png: expected a PNG or JPEG picture, found a file that begins with "
                                 "82 60 42 AE 44 4E 45 49"),
            ("{tmp}/cut.jpg", "{tmp}/cut.jpg: broken JPEG: Premature end of JPEG file"),
            ("{tmp}/zeros.jpg", "{tmp}/zeros.jpg: broken JPEG: Premature end of JPEG file"),
            ("/dev/null", "/dev/null: expected a regular file, found a device, pipe or socket")]:
        t.generate(["-i", name, "--width", "72", "--height", "104"], message)
    t.generate(["-i", "{tmp}/small.png", "--width", "72", "--height", "104"],
               "init_image: expected 72 x 104 pixels, found 64 x 64 (resize scales it)")


def file_rows(t):
    """What is no safetensors file, or not all of one."""
    single = SINGLE.read_bytes()
    t.row(["generate", "a", "-m", "none"], "none: cannot open the model: No such file or directory")
    t.row(["generate", "a", "-m", ""], "--model: expected a safetensors file or a diffusers folder, found ''")
    t.row(["generate", "a", "-m", "/dev/null"], "/dev/null: expected a regular file, found a device, pipe or socket")
    os.mkfifo(t.folder / "pipe")
    t.row(["generate", "a", "-m", "{tmp}/pipe"],
          "{tmp}/pipe: expected a regular file, found a device, pipe or socket")
    t.row(["generate", "a", "-m", ROOT / "docs"], "{root}/docs: not a model folder: expected model_index.json in it")
    t.row(["generate", "a", "-m", ROOT / "samples/loras/acme.safetensors"],
          "{root}/samples/loras/acme.safetensors: this is a LoRA, not a model; it needs a base model beside it")
    t.model("empty.safetensors", b"", ": the file is empty")
    t.model("four.safetensors", b"abcd", ": expected a safetensors file, found only 4 bytes")
    t.model("text.safetensors", b"This is a text, not a model.\n" * 9,
            ": expected a safetensors header of at most 100000000 bytes, found 2338328219631577172")
    t.model("picture.safetensors", png(64, 64), ": expected a safetensors file, found a PNG picture")
    t.model("lfs.safetensors", b"version 1 of git-lfs\noid sha256:00\nsize 9\n",
            ": expected a safetensors file, found a Git LFS pointer to the real file")
    t.model("model.gguf", b"GGUF" + bytes(100), ": expected GGUF version 2 or 3, found 0")
    t.model("model.ckpt", b"PK\x03\x04" + bytes(100), ": the zip archive has no end: the file is cut short or damaged")
    t.model("cut_header.safetensors", single[:1000], ": header of 126792 bytes is cut short, 992 bytes follow")
    t.model("cut.safetensors", single[:-1000],
            ": header: tensor 'model.diffusion_model.time_embed.2.weight': its data end at byte 1195374, the file "
            "holds 1194374 bytes of data")
    t.model("longer.safetensors", single + b"x",
            ": header: the tensors end at byte 1195374 of the data, the file holds 1195375")


def header_rows(t):
    single = SINGLE.read_bytes()
    header, tensors = split(single)
    for size in (1 << 62, 1 << 63, (1 << 64) - 1):
        t.model(f"header_{size}.safetensors", struct.pack("<Q", size) + single[8:],
                f": expected a safetensors header of at most 100000000 bytes, found {size}")
    t.model("no_header.safetensors", bytes(8) + single[8:], ": header of 0 bytes is too short")
    t.model("not_json.safetensors", joined(b"{\"a\": ", b""),
            ": header: tensor 'a': expected an object with dtype, shape and data_offsets")
    t.model("list.safetensors", joined(b"[]", b""), ": header: expected an object, found an array at byte 0")
    t.model("no_value.safetensors", joined(b'{"a": }  ', b""),
            ": header: tensor 'a': expected an object with dtype, shape and data_offsets")
    t.model("deep_list.safetensors", joined(b"[" * 5000 + b"]" * 5000, b""),
            ": header: expected an object, found an array at byte 0")
    t.model("utf8.safetensors", joined(b'{"\xff": 1}', b""), ": header is not well-formed UTF-8")
    t.model("deep.safetensors", joined(b'{"a":' + b"[" * 100000, b""),
            ": header: tensor 'a': expected an object with dtype, shape and data_offsets")
    same = header["cond_stage_model.transformer.text_model.embeddings.position_ids"]
    t.model("overlap.safetensors", joined(header | {"zz": same}, tensors),
            ": header: tensors 'cond_stage_model.transformer.text_model.embeddings.position_ids' and 'zz' overlap "
            "at byte 0")
    t.model("backwards.safetensors", joined({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"1234"),
            ": header: tensor 'a': data_offsets [4,0] run backwards")
    t.model("beyond.safetensors", joined({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"),
            ": header: tensor 'a': its data end at byte 8, the file holds 4 bytes of data")
    t.model("overflow.safetensors",
            joined({"a": {"dtype": "F32", "shape": [1 << 32, 1 << 32, 4], "data_offsets": [0, 4]}}, b"1234"),
                   ": header: tensor 'a': shape [4294967296,4294967296,4] of F32 has no size in whole bytes below "
                   "2^61")
    t.model("negative.safetensors", joined({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
            ": header: expected a dimension from 0 to 2^64-1, found -1 at byte 33")
    t.model("dtype.safetensors", joined({"a": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
            ": header: tensor 'a': unknown dtype 'Q9'")
    t.model("twice.safetensors", joined(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                                        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234"),
            ": header: tensor 'a' is listed twice")
    begin, end = header[FIRST]["data_offsets"]
    tensor = f"tensor '{FIRST}'"
    for name, fields, message in [
            ("f64", {"dtype": "F64"},
             f"{tensor}: shape [16,4,3,3] of F64 needs 4608 bytes, its data_offsets hold 1152"),
            ("i32", {"dtype": "I32"},
             f"{tensor}: shape [16,4,3,3] of I32 needs 2304 bytes, its data_offsets hold 1152"),
            ("number", {"dtype": 3}, f"{tensor}: expected dtype as a string"),
            ("fraction", {"shape": [1.5, 4, 3, 3]},
             "expected a dimension from 0 to 2^64-1, found 1.5 at byte 40409"),
            ("rank", {"shape": [1] * 9}, f"{tensor}: expected at most 8 dimensions"),
            ("moved", {"data_offsets": [begin + 4, end + 4]},
             f"bytes {begin} to {begin + 4} of the data, before {tensor}, belong to no tensor"),
            ("far", {"data_offsets": [1 << 62, (1 << 62) + 4]},
             f"{tensor}: shape [16,4,3,3] of F16 needs 1152 bytes, its data_offsets hold 4"),
            ("one_offset", {"data_offsets": [0]}, f"{tensor}: expected 2 data_offsets, found 1")]:
        t.model(name + ".safetensors", tensor_changed(FIRST, **fields)(single), ": header: " + message)


def family_rows(t):
    """Well-formed files that are no model, or not a whole one."""
    single = SINGLE.read_bytes()
    header, tensors = split(single)
    t.model("none.safetensors", joined({}, b""), ": expected a Stable Diffusion model, found no tensors")
    t.model("other.safetensors", one_tensor("weight"),
            ": not a Stable Diffusion model: expected tensors named model.diffusion_model..., found weight")
    t.model("flux.safetensors", one_tensor("double_blocks.0.img_attn.qkv.weight"),
            ": this is a Flux model; supported are SD 1, SD 2 and SDXL")
    t.model("flux_all.safetensors", one_tensor("model.diffusion_model.double_blocks.0.img_attn.qkv.weight"),
            ": this is a Flux model; supported are SD 1, SD 2 and SDXL")
    t.model("sd3.safetensors", one_tensor("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"),
            ": this is a Stable Diffusion 3 model; supported are SD 1, SD 2 and SDXL")
    t.model("cascade.safetensors", one_tensor("clip_txt_mapper.weight"),
            ": this is a Stable Cascade model; supported are SD 1, SD 2 and SDXL")
    t.model("groups.safetensors", single, ": block_out_channels: expected multiples of the 32 norm groups, found 16")
    t.model("only_vae.safetensors", without(*[n for n in header if not n.startswith("first_stage")])(single),
            ": this is a VAE alone; expected a model with a UNet, beside which it can be given")
    t.model("only_text.safetensors", without(*[n for n in header if not n.startswith("cond_stage")])(single),
            ": this is a text encoder alone; expected a model with a UNet, beside which it can be given")
    t.model("renamed.safetensors", joined({"x." + n: header[n] for n in header if n != "__metadata__"}, tensors),
            ": not a Stable Diffusion model: expected tensors named model.diffusion_model..., found "
            "x.cond_stage_model.transformer.text_model.embeddings.position_ids and 997 more")
    t.model("no_vae.safetensors", doubled(header, "first_stage_model."),
            ": the model holds no VAE (first_stage_model...), and none is given beside it")
    t.model("no_text.safetensors", doubled(header, "cond_stage_model."), ": the model holds no text encoder")


def folder_rows(t):
    t.copy("no_index", {"model_index.json": None},
           ": not a model folder: expected model_index.json in it")
    t.copy("no_unet", {"unet/config.json": None},
           "/unet: expected the file config.json, which is not there")
    t.copy("no_unet_file", {UNET: None},
           "/unet: no weights: expected diffusion_pytorch_model.safetensors (or its .fp16, sharded or "
           ".bin form)")
    t.copy("no_vae", {"vae/config.json": None, VAE: None},
           "/vae: expected the file config.json, which is not there")
    t.copy("no_vae_config", {"vae/config.json": None}, "/vae: expected the file config.json, which is not there")
    t.copy("no_text_config", {"text_encoder/config.json": None},
           "/text_encoder: expected the file config.json, which is not there")
    t.copy("no_text_encoder", {"text_encoder/config.json": None, TEXT: None},
           "/text_encoder: expected the file config.json, which is not there")
    t.copy("empty_unet", {UNET: to(b"")},
           "/unet/diffusion_pytorch_model.safetensors: the file is empty")
    t.copy("cut_vae", {VAE: cut(5000)},
           "/vae/diffusion_pytorch_model.safetensors: header of 25352 bytes is cut short, 4992 bytes follow")
    t.copy("unet_is_vae", {UNET: to((TINY / VAE).read_bytes())},
           "/unet/diffusion_pytorch_model.safetensors: expected a UNet, found a VAE")
    t.copy("shape", {UNET: reshaped("conv_out.weight", [16, 4, 3, 3])},
           "/unet/diffusion_pytorch_model.safetensors: tensor conv_out.weight: expected the shape [4,16,3,3], found "
           "[16,4,3,3]")
    t.copy("dtype", {UNET: retyped("conv_out.bias", "I32", 4)},
           "/unet/diffusion_pytorch_model.safetensors: tensor conv_out.bias: expected F32, F16, BF16, F8 or quantised values, "
           "found I32")
    t.copy("one_missing", {UNET: without("conv_out.bias")},
           "/unet/diffusion_pytorch_model.safetensors: 1 tensor is missing: conv_out.bias")
    t.copy("vae_missing", {VAE: without("decoder.conv_out.weight")},
           "/vae/diffusion_pytorch_model.safetensors: 1 tensor is missing: decoder.conv_out.weight")
    t.copy("text_missing", {TEXT: without("text_model.final_layer_norm.weight")},
           "/text_encoder/model.safetensors: 1 tensor is missing: final_layer_norm.weight")
    t.copy("many_missing", {VAE: without(*[n for n in split((TINY / VAE).read_bytes())[0] if "decoder.up_" in n])},
           "/vae/diffusion_pytorch_model.safetensors: 104 tensors are missing: "
           "decoder.up_blocks.0.resnets.0.norm1.weight, decoder.up_blocks.0.resnets.0.norm1.bias, "
           "decoder.up_blocks.0.resnets.0.conv1.weight and 101 more")
    t.copy("encoder_shape", {TEXT: reshaped(next(n for n in split((TINY / TEXT).read_bytes())[0]
                                                 if n.endswith("fc1.weight")), [32, 128])},
           "/text_encoder/model.safetensors: tensor encoder.layers.0.mlp.fc1.weight: expected the shape [128,32], "
           "found [32,128]")
    t.copy("table_shape", {TEXT: reshaped("text_model.embeddings.token_embedding.weight", [32, 600])},
           "/text_encoder/model.safetensors: tensor embeddings.token_embedding.weight: expected the shape [600,32], "
           "found [32,600]")
    t.copy("config_empty", {"unet/config.json": to(b"")},
           "/unet/config.json: expected a JSON object, found none")
    t.copy("config_broken", {"unet/config.json": cut(100)},
           "/unet/config.json: expected a JSON object, found none")
    t.copy("config_word", {"unet/config.json": to(b"no")}, "/unet/config.json: expected a JSON object, found none")
    t.copy("config_list", {"unet/config.json": to(b"[]")},
           "/unet/config.json: expected a JSON object, found none")
    t.configs("unet/config.json", [
        ("in_channels", 5,
         ": expected a UNet with 4 input channels, 8 for pix2pix or 9 for inpainting, found 5, as for depth maps, which "
         "this version cannot do"),
        ("in_channels", "four", '/unet/config.json: in_channels: expected a whole number, found "four"'),
        ("in_channels", 1e+99, "/unet/config.json: in_channels: expected a whole number, found 1e+99"),
        ("in_channels", 3, ": the UNet reads 3 channels and gives 4, but the VAE's latents have 4"),
        ("out_channels", 8, ": the UNet reads 4 channels and gives 8, but the VAE's latents have 4"),
        ("levitation", 3,
         "/unet/config.json: levitation: expected no such field (it is unknown to this version), found 3"),
        ("block_out_channels", None, "/unet/config.json: expected a UNet's block_out_channels, found none"),
        ("block_out_channels", [],
         "/unet/config.json: block_out_channels: expected a list of 1 to 4 numbers, found []"),
        ("block_out_channels", [16, "x"],
         '/unet/config.json: block_out_channels: expected whole numbers, found "x"'),
        ("block_out_channels", [15, 16, 16, 32],
         "/unet/config.json: expected sinusoids of even width, found 15 and 0"),
        ("block_out_channels", [32, 32, 32, 64],
         f"/{UNET}: tensor conv_in.weight: expected the shape [32,4,3,3], found [16,4,3,3]"),
        ("norm_num_groups", 0, "/unet/config.json: norm_num_groups: expected 1 to 1024, found 0"),
        ("norm_num_groups", 7,
         "/unet/config.json: block_out_channels: expected multiples of the 7 norm groups, found 16"),
        ("attention_head_dim", 0, "/unet/config.json: attention heads: expected 1 to 1024, found 0"),
        ("attention_head_dim", 3,
         "/unet/config.json: attention heads: expected a divisor of 16 channels, found 3 heads"),
        ("cross_attention_dim", 48, ": the UNet reads text of width 48, but the text encoder gives 32"),
        ("cross_attention_dim", 1 << 40,
         "/unet/config.json: cross_attention_dim: expected whole numbers, found 1099511627776"),
        ("cross_attention_dim", 0, "/unet/config.json: cross_attention_dim: expected 1 to 65536, found 0"),
        ("down_block_types", ["CrossAttnDownBlock3D"] * 4,
         '/unet/config.json: down_block_types: expected DownBlock2D or CrossAttnDownBlock2D, found '
         '"CrossAttnDownBlock3D"'),
        ("layers_per_block", 1000, "/unet/config.json: layers_per_block: expected 1 to 4, found 1000"),
        ("act_fn", "relu", '/unet/config.json: act_fn: expected "silu", found "relu"'),
        ("resnet_time_scale_shift", "scale_shift",
         '/unet/config.json: resnet_time_scale_shift: expected "default", found "scale_shift"'),
        ("norm_eps", "small", '/unet/config.json: norm_eps: expected a number, found "small"'),
        ("transformer_layers_per_block", -1,
         "/unet/config.json: transformer_layers_per_block: expected whole numbers above 0, found -1")])
    t.configs("vae/config.json", [
        ("latent_channels", 16, ": the UNet reads 4 channels and gives 4, but the VAE's latents have 16"),
        ("scaling_factor", 0, "/vae/config.json: scaling_factor: expected a number other than 0"),
        ("scaling_factor", "big", "/vae/config.json: scaling_factor: expected a number"),
        ("scaling_factor", math.nan, "/vae/config.json: expected a JSON object"),
        ("block_out_channels", None, "/vae/config.json: block_out_channels: expected a list of 1 to 4 numbers"),
        ("norm_num_groups", 3,
         "/vae/config.json: block_out_channels[0]: expected a multiple of norm_num_groups 3, found 8")])
    t.configs("text_encoder/config.json", [
        ("hidden_act", "swish",
         '/text_encoder/config.json: hidden_act: expected "quick_gelu" or "gelu", found "swish"'),
        ("hidden_size", 33,
         "/text_encoder/config.json: hidden_size 33 is not a multiple of num_attention_heads 2"),
        ("max_position_embeddings", 12,
         "/text_encoder/config.json: max_position_embeddings: expected 77, found 12"),
        ("vocab_size", 500,
         "/text_encoder/model.safetensors: the tokenizer has 600 entries, but the text encoder's table has "
         "500 rows"),
        ("num_attention_heads", 0,
         "/text_encoder/config.json: num_attention_heads: expected a whole number from 1 to 256"),
        ("num_hidden_layers", 0,
         "/text_encoder/config.json: num_hidden_layers: expected a whole number from 1 to 48")])
    t.configs("scheduler/scheduler_config.json", [
        ("beta_schedule", "cosine",
         '/scheduler/scheduler_config.json: beta_schedule: expected linear or scaled_linear, found "cosine"'),
        ("prediction_type", "flow",
         '/scheduler/scheduler_config.json: prediction_type: expected epsilon, v_prediction or sample, found '
         '"flow"'),
        ("beta_start", -1,
         "/scheduler/scheduler_config.json: betas: expected 0 < start <= end < 1, found start -1 and end 0.012"),
        ("beta_end", "x", '/scheduler/scheduler_config.json: beta_end: expected a number, found "x"'),
        ("beta_end", 1e-09,
         "/scheduler/scheduler_config.json: betas: expected 0 < start <= end < 1, found start 0.00085 and end "
         "1e-09"),
        ("num_train_timesteps", 0,
         "/scheduler/scheduler_config.json: num_train_timesteps: expected 1000, found 0"),
        ("timestep_spacing", "log",
         '/scheduler/scheduler_config.json: timestep_spacing: expected leading, trailing or linspace, found '
         '"log"'),
        ("trained_betas", [0.1], "/scheduler/scheduler_config.json: trained_betas: expected null, found [0.1]")])
    t.copy("vae_levels", {"vae/config.json": lambda d: field("up_block_types", ["UpDecoderBlock2D"] * 3)(
        field("down_block_types", ["DownEncoderBlock2D"] * 3)(field("block_out_channels", [8, 8, 16])(d)))},
           "/vae/config.json: expected a VAE of 4 levels and 3 colours, found 3 and 3")
    t.copy("vae_colours", {"vae/config.json": lambda d: field("in_channels", 4)(field("out_channels", 4)(d))},
           "/vae/config.json: expected a VAE of 4 levels and 3 colours, found 4 and 4")
    t.copy("scheduler_broken", {"scheduler/scheduler_config.json": cut(30)},
           "/scheduler/scheduler_config.json: expected a JSON object")
    t.copy("vocab_broken", {"tokenizer/vocab.json": cut(100)},
           "/tokenizer/vocab.json: expected a JSON object, found an error at byte 99")
    t.copy("vocab_list", {"tokenizer/vocab.json": to(b"[]")},
           "/tokenizer/vocab.json: expected a JSON object, found another type")
    t.copy("vocab_empty", {"tokenizer/vocab.json": to(b"{}")},
           '/tokenizer/vocab.json: expected an entry "<|startoftext|>", found none')
    t.copy("vocab_gone", {"tokenizer/vocab.json": None},
           "/tokenizer: expected vocab.json and merges.txt, found only merges.txt")
    t.copy("merges_gone", {"tokenizer/merges.txt": None},
           "/tokenizer: expected vocab.json and merges.txt, found only vocab.json")
    t.copy("merges_broken", {"tokenizer/merges.txt": to(b"#version: 0.2\na b c\n")},
           "/tokenizer/merges.txt: expected line 2 to be two entries with one space between them, found 5 bytes "
           "that are not")
    t.copy("merges_unknown", {"tokenizer/merges.txt": to(b"#version: 0.2\nzz qq\n")},
           "/tokenizer/merges.txt: expected line 2 to join two entries of the vocabulary to a third, found no entry "
           "for the left one")
    t.copy("tokenizer_gone", {"tokenizer/vocab.json": None, "tokenizer/merges.txt": None},
           "/text_encoder/model.safetensors: the usual tokenizer, for want of the model's own, has 49408 entries, "
           "but the text encoder's table has 600 rows")


def closed_rows(t):
    """Files that this user may not read."""
    for part in ("unet/config.json", UNET, "tokenizer/vocab.json"):
        copy = t.copy("closed_" + pathlib.Path(part).stem, {part: lambda data: data},
                             f"/{part}: no permission to read this file")
        (copy / part).chmod(0)
    (t.folder / "locked").mkdir(mode=0o500)
    t.generate(["-o", "{tmp}/locked/a.png"],
               "--output: the folder '{tmp}/locked/' cannot be written: Permission denied")
    t.file("closed.safetensors", b"x" * 100).chmod(0)
    t.row(["generate", "a", "-m", "{tmp}/closed.safetensors"],
          "{tmp}/closed.safetensors: no permission to read this file")
    t.row(["info", "{tmp}/closed.safetensors"],
          "{tmp}/closed.safetensors: no permission to read this file")
    t.file("closed.png", png(64, 64)).chmod(0)
    t.generate(["-i", "{tmp}/closed.png"], "{tmp}/closed.png: no permission to read this file")
    t.row(["info", "{tmp}/closed.png"], "{tmp}/closed.png: no permission to read this file")


class BadFiles(refusals.Case):
    def check_rows(self, fill):
        table = Table(self.tmp)
        fill(table)
        self.check(table)
        # `info` may still have something to say about such a model, but never more than one sentence against it.
        for path in table.models:
            with self.subTest(info=path):
                code, shown, _ = self.run_row(["info", path])
                self.assertIn(code, (0, 2))
                self.assertRegex(shown, r"\Asdvk: \{tmp\}/[^\n]+\n\Z" if code else r"\A\Z")

    def test_pictures(self):
        self.check_rows(picture_rows)

    def test_single_files(self):
        self.check_rows(file_rows)

    def test_headers(self):
        self.check_rows(header_rows)

    def test_families(self):
        self.check_rows(family_rows)

    def test_folders(self):
        self.check_rows(folder_rows)

    def test_closed_files(self):
        self.check_rows(closed_rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)
