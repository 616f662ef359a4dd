"""Wrong requests and broken files: exit code 2, one exact sentence, nothing on stdout, no file left behind."""
import ctypes
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

import program
from program import MODEL, ROOT, SDVK

TINY = ROOT / "tests/golden/networks/sd1"
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


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

class Table:
    """Rows of (arguments, message); {tmp} in both is the folder with the broken files."""

    def __init__(self, folder):
        self.folder, self.rows, self.count = folder, [], 0

    def row(self, arguments, message):
        self.rows.append((arguments, message))

    def file(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def generate(self, arguments, message):
        """A wrong option beside a model that is in order."""
        self.row(["generate", "a", "-m", TINY, *arguments], message)

    def model(self, name, data, message):
        """A single file that is no usable model; the message goes on after its path."""
        self.file(name, data)
        self.row(["generate", "a", "-m", "{tmp}/" + name], "{tmp}/" + name + message)

    def folder_with(self, name, changes, message):
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
                (copy / part).write_bytes(changes[part](source.read_bytes()))
        self.row(["generate", "a", "-m", "{tmp}/" + name], "{tmp}/" + name + message)
        return copy


def command_rows(t):
    t.row(["generat"], "unknown command 'generat'; did you mean 'generate'?")
    t.row(["frobnicate"], "unknown command 'frobnicate'; `sdvk --help` lists what there is")
    t.row(["generate"], 'generate: expected a prompt, e.g. sdvk generate "a red mug" --model samples/mockup')
    t.row(["generate", "a"],
          "generate: --model is missing: a safetensors file or a diffusers folder, e.g. --model samples/mockup")
    t.row(["generate", "a", "b", "-m", MODEL],
          "generate: expected one prompt, found also 'b'; put the prompt in quotes")
    t.row(["generate", "-m"], "-m: a value is missing")
    t.row(["generate", "a", "--model"], "--model: a value is missing")
    t.row(["generate", "a", "--steps"], "--steps: a value is missing")
    t.row(["generate", "a", "--json=1"], "--json takes no value")
    t.row(["generate", "a", "--smapler", "euler"], "unknown option '--smapler'; did you mean '--sampler'?")
    t.row(["generate", "a", "--smapler=euler"], "unknown option '--smapler'; did you mean '--sampler'?")
    t.row(["generate", "a", "--zzzzzzzz"], "unknown option '--zzzzzzzz'; --help lists the options")
    t.row(["generate", "a", "-z"], "unknown option '-z'; --help lists the options")
    t.row(["generate", b"a \xff", "-m", MODEL], "prompt: the text is not valid UTF-8")
    t.row(["generate", "a", "-m", MODEL, "--negative-prompt", b"\xc3"],
          "negative_prompt: the text is not valid UTF-8")
    t.row(["devices", "x"], "devices: unexpected argument 'x'")
    t.row(["devices", "--jsn"], "unknown option '--jsn'; did you mean '--json'?")
    t.row(["info"], "info: expected a file or folder")
    t.row(["info", "a", "b"], "info: expected one file, found also 'b'")
    t.row(["info", "none.png"], "none.png: No such file or directory")
    t.row(["info", "{tmp}"], "{tmp}: not a model folder: expected model_index.json in it")
    t.row(["bench", "x"], "bench: unexpected argument 'x'")
    t.row(["bench", "--width", "0"], "--width: expected a whole number from 1 to 65536, found '0'")
    t.row(["bench", "--width", "63"], "size: expected multiples of 8 from 64 to 8192, found 63 x 512")
    t.row(["bench", "--runs", "many"], "--runs: expected a whole number from 1 to 65536, found 'many'")
    t.row(["bench", "--precision", "f8"], "--precision: expected auto, f32 or f16, found 'f8'")
    t.row(["bench", "--network", "unit"], "network: expected text, unet, decode or encode, found 'unit'")
    t.row(["bench", "--family", "sd9"], "family: expected a UNet of the table (sd1, sd2, sdxl ...), found 'sd9'")


def option_rows(t):
    for option, value, message in [
            ("--sampler", "eular", "unknown sampler 'eular'; did you mean 'euler'?"),
            ("--sampler", "zzzz",
             "unknown sampler 'zzzz'; there are euler, euler_a, heun, dpm2, dpm2_a, dpmpp_2s_a, dpmpp_sde, "
             "dpmpp_2m, dpmpp_2m_sde, dpmpp_2m_sde_heun, dpmpp_3m_sde, ddim, ddpm, unipc, lms, deis, lcm"),
            ("--sampler", "",
             "unknown sampler ''; there are euler, euler_a, heun, dpm2, dpm2_a, dpmpp_2s_a, dpmpp_sde, dpmpp_2m, "
             "dpmpp_2m_sde, dpmpp_2m_sde_heun, dpmpp_3m_sde, ddim, ddpm, unipc, lms, deis, lcm"),
            ("--schedule", "karas", "unknown schedule 'karas'; did you mean 'karras'?"),
            ("--schedule", "zzzz",
             "unknown schedule 'zzzz'; there are uniform, karras, exponential, polyexponential, sgm_uniform, "
             "simple, normal, ddim, trailing, leading, beta, linear_quadratic, kl_optimal, align_your_steps, lcm"),
            ("--rng", "cpuu", "unknown rng 'cpuu'; did you mean 'cpu'?"),
            ("--rng", "dice", "unknown rng 'dice'; there are cpu, gpu"),
            ("--precision", "f8", "--precision: expected auto, f32 or f16, found 'f8'"),
            ("--prediction", "x", "--prediction: expected epsilon or v, found 'x'"),
            ("--width", "100", "width: expected a multiple of 8, found 100; try 104"),
            ("--width", "0", "width: expected 64 to 8192, found 0"),
            ("--width", "8", "width: expected 64 to 8192, found 8"),
            ("--width", "-64", "width: expected 64 to 8192, found -64"),
            ("--height", "999999999999", "height: expected 64 to 8192, found 999999999999"),
            ("--height", "8200", "height: expected 64 to 8192, found 8200"),
            ("--height", "64px", "height: expected a whole number, found '64px'"),
            ("--height", "", "height: expected a whole number, found ''"),
            ("--steps", "0", "steps: expected 1 to 1000, found 0"),
            ("--steps", "1001", "steps: expected 1 to 1000, found 1001"),
            ("--steps", "two", "steps: expected a whole number, found 'two'"),
            ("--steps", "2.5", "steps: expected a whole number, found '2.5'"),
            ("--steps", "99999999999999999999999999", "steps: expected 1 to 1000, found 99999999999999999999999999"),
            ("--cfg-scale", "nan", "cfg_scale: expected a number, found 'nan'"),
            ("--cfg-scale", "inf", "cfg_scale: expected a number, found 'inf'"),
            ("--cfg-scale", "-3", "cfg_scale: expected 1 to 100, found -3"),
            ("--cfg-scale", "1e400", "cfg_scale: expected a number, found '1e400'"),
            ("--cfg-scale", "0", "cfg_scale: expected 1 to 100, found 0"),
            ("--strength", "2", "strength: expected 0.01 to 1, found 2"),
            ("--strength", "0", "strength: expected 0.01 to 1, found 0"),
            ("--seed", "1e400", "seed: expected a whole number, found '1e400'"),
            ("--seed", "-2", "seed: expected -1 to 9007199254740991, found -2"),
            ("--seed", "9007199254740992", "seed: expected -1 to 9007199254740991, found 9007199254740992"),
            ("--seed", "1.5", "seed: expected a whole number, found '1.5'"),
            ("--count", "-1", "count: expected 1 to 1000, found -1"),
            ("--count", "0", "count: expected 1 to 1000, found 0"),
            ("--eta", "nan", "eta: expected a number, found 'nan'"),
            ("--eta", "-1", "eta: expected 0 to 10, found -1"),
            ("--clip-skip", "0", "clip_skip: expected 1 to 48, found 0"),
            ("--clip-skip", "13", "clip_skip: expected 1 to 4, the layers of this model's text encoder, found 13"),
            ("--device", "no such card",
             "no device is called 'no such card'; `sdvk devices` lists what is there (first: '{device}')"),
            ("--device", "99", "device 99 does not exist; `sdvk devices` lists 0 to 0")]:
        t.generate([option, value], message)


def output_rows(t):
    t.file("there.png", b"mine")
    os.mkdir(t.folder / "folder.png")
    t.generate(["-o", "a.gif"], "--output: expected a name that ends in .png, .jpg or .jpeg, found 'a.gif'")
    t.generate(["-o", "a"], "--output: expected a name that ends in .png, .jpg or .jpeg, found 'a'")
    t.generate(["-o", ""], "--output: the file name is empty or longer than 4095 bytes")
    t.generate(["-o", "a.b/c"], "--output: expected a name that ends in .png, .jpg or .jpeg, found 'a.b/c'")
    t.generate(["-o", "none/a.png"], "--output: the folder 'none/' cannot be used: No such file or directory")
    t.generate(["-o", "{tmp}/there.png"], "--output: '{tmp}/there.png' exists; --overwrite replaces it")
    t.generate(["-o", "{tmp}/there.png/a.png"],
               "--output: the folder '{tmp}/there.png/' cannot be used: Not a directory")
    t.generate(["-o", "{tmp}/folder.png", "--overwrite"],
               "--output: expected the name of a file to write, found the folder '{tmp}/folder.png'")
    t.generate(["-o", "{tmp}/there.png/../a.png"],
               "--output: the folder '{tmp}/there.png/../' cannot be used: Not a directory")
    t.generate(["-o", "x" * 300 + ".png"],
               "--output: "
               "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' cannot be written: File name too long")
    t.generate(["-o", "x" * 5000 + ".png"], "--output: the file name is empty or longer than 4095 bytes")


def init_rows(t):
    good = png(64, 64)
    t.file("small.png", good)
    t.file("cut.png", good[:50])
    t.file("noise.png", good[:60] + b"\xff" * 20 + good[80:])
    t.file("huge.png", png(20000, 20000, b""))
    t.file("text.png", b"not a picture")
    t.file("empty.png", b"")
    t.file("cut.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF")
    for name, message in [
            ("none.png", "none.png: no such file"),
            ("{tmp}", "{tmp}: expected a file, found a folder"),
            ("{tmp}/cut.png", "{tmp}/cut.png: broken PNG: the file is cut short"),
            ("{tmp}/noise.png", "{tmp}/noise.png: broken PNG: the file is cut short"),
            ("{tmp}/huge.png", "{tmp}/huge.png: broken PNG: Invalid IHDR data"),
            ("{tmp}/text.png", "{tmp}/text.png: expected a PNG or JPEG picture, found a file that begins with 6E 6F 74 20 61 20 70 69"),
            ("{tmp}/empty.png", "{tmp}/empty.png: the file is empty"),
            ("{tmp}/cut.jpg", "{tmp}/cut.jpg: broken JPEG: Premature end of JPEG file"),
            ("/dev/null", "/dev/null: expected a regular file, found a device, pipe or socket")]:
        t.generate(["-i", name, "--width", "72", "--height", "104"], message)
    t.generate(["-i", "{tmp}/small.png", "--width", "72", "--height", "104"],
               "init_image: expected 72 x 104 pixels, found 64 x 64")


def file_rows(t):
    single = (ROOT / "tests/golden/networks/sd1.safetensors").read_bytes()
    header, tensors = split(single)
    first = next(n for n in header if n != "__metadata__")
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
    t.model("model.gguf", b"GGUF" + bytes(100), ": expected a safetensors file, found a GGUF file")
    t.model("model.ckpt", b"PK\x03\x04" + bytes(100),
            ": expected a safetensors file, found a PyTorch checkpoint or ZIP archive")
    t.model("cut_header.safetensors", single[:1000], ": header of 126792 bytes is cut short, 992 bytes follow")
    t.model("cut.safetensors", single[:-1000],
            ": header: tensor 'model.diffusion_model.time_embed.2.weight': its data end at byte 1195374, the file "
            "holds 1194374 bytes of data")
    t.model("longer.safetensors", single + b"x",
            ": header: the tensors end at byte 1195374 of the data, the file holds 1195375")
    t.model("huge_header.safetensors", struct.pack("<Q", 1 << 62) + single[8:],
            ": expected a safetensors header of at most 100000000 bytes, found 4611686018427387904")
    t.model("not_json.safetensors", joined(b"{\"a\": ", b""),
            ": header: tensor 'a': expected an object with dtype, shape and data_offsets")
    t.model("list.safetensors", joined(b"[]", b""), ": header: expected an object, found an array at byte 0")
    t.model("none.safetensors", joined({}, b""), ": expected a Stable Diffusion model, found no tensors")
    t.model("utf8.safetensors", joined(b'{"\xff": 1}', b""), ": header is not well-formed UTF-8")
    t.model("deep.safetensors", joined(b'{"a":' + b"[" * 100000, b""),
            ": header: tensor 'a': expected an object with dtype, shape and data_offsets")
    t.model("overlap.safetensors", joined(header | {"zz": header[first]}, tensors),
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
    t.model("no_text.safetensors", without(*[n for n in header if not n.startswith("first_stage")])(single),
            ": not a Stable Diffusion model: expected tensors named model.diffusion_model..., found "
            "first_stage_model.decoder.conv_in.bias and 243 more")


def folder_rows(t):
    def folder(name, changes, message):
        return t.folder_with(name, changes, message)
    folder("no_index", {"model_index.json": None},
           ": not a model folder: expected model_index.json in it")
    folder("no_unet", {"unet/config.json": None},
           ": expected the file unet/config.json, which is not there")
    folder("no_unet_file", {UNET: None},
           "/unet: no weights: expected diffusion_pytorch_model.safetensors (or its .fp16 or sharded form)")
    folder("no_vae", {"vae/config.json": None, VAE: None},
           ": expected the file vae/config.json, which is not there")
    folder("no_text_encoder", {"text_encoder/config.json": None, TEXT: None},
           ": expected the folder text_encoder or text_encoder_2, found neither")
    folder("empty_unet", {UNET: to(b"")},
           "/unet/diffusion_pytorch_model.safetensors: the file is empty")
    folder("cut_vae", {VAE: cut(5000)},
           "/vae/diffusion_pytorch_model.safetensors: header of 25352 bytes is cut short, 4992 bytes follow")
    folder("unet_is_vae", {UNET: to((TINY / VAE).read_bytes())},
           "/unet/diffusion_pytorch_model.safetensors: 684 tensors are missing: conv_in.weight, conv_in.bias, "
           "time_embedding.linear_1.weight and 681 more")
    folder("shape", {UNET: reshaped("conv_out.weight", [16, 4, 3, 3])},
           "/unet/diffusion_pytorch_model.safetensors: tensor conv_out.weight: expected the shape [4,16,3,3], found "
           "[16,4,3,3]")
    folder("dtype", {UNET: retyped("conv_out.bias", "I32", 4)},
           "/unet/diffusion_pytorch_model.safetensors: tensor conv_out.bias: expected F32, F16, BF16 or F8 values, "
           "found I32")
    folder("one_missing", {UNET: without("conv_out.bias")},
           "/unet/diffusion_pytorch_model.safetensors: 1 tensor is missing: conv_out.bias")
    folder("many_missing", {VAE: without(*[n for n in split((TINY / VAE).read_bytes())[0] if "decoder.up_" in n])},
           "/vae/diffusion_pytorch_model.safetensors: 104 tensors are missing: "
           "decoder.up_blocks.0.resnets.0.norm1.weight, decoder.up_blocks.0.resnets.0.norm1.bias, "
           "decoder.up_blocks.0.resnets.0.conv1.weight and 101 more")
    folder("encoder_shape", {TEXT: reshaped(next(n for n in split((TINY / TEXT).read_bytes())[0]
                                                 if n.endswith("fc1.weight")), [32, 128])},
           "/text_encoder/model.safetensors: tensor encoder.layers.0.mlp.fc1.weight: expected the shape [128,32], "
           "found [32,128]")
    folder("config_empty", {"unet/config.json": to(b"")},
           "/unet/config.json: expected a JSON object, found none")
    folder("config_broken", {"unet/config.json": cut(100)},
           "/unet/config.json: expected a JSON object, found none")
    folder("config_list", {"unet/config.json": to(b"[]")},
           "/unet/config.json: expected a JSON object, found none")
    for name, value, message in [
            ("in_channels", 9,
             ": expected a UNet with 4 input channels, found 9, as for inpainting, depth or pix2pix, which this "
             "version cannot do"),
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
            ("norm_num_groups", 0, "/unet/config.json: norm_num_groups: expected 1 to 1024, found 0"),
            ("norm_num_groups", 7,
             "/unet/config.json: block_out_channels: expected multiples of the 7 norm groups, found 16"),
            ("attention_head_dim", 0, "/unet/config.json: attention heads: expected 1 to 1024, found 0"),
            ("attention_head_dim", 3,
             "/unet/config.json: attention heads: expected a divisor of 16 channels, found 3 heads"),
            ("cross_attention_dim", 48, ": the UNet reads text of width 48, but the text encoder gives 32"),
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
             "/unet/config.json: transformer_layers_per_block: expected whole numbers above 0, found -1")]:
        folder(f"unet_{name}_{t.count}", {"unet/config.json": field(name, value)}, message)
        t.count += 1
    for name, value, message in [
            ("latent_channels", 16, ": the UNet reads 4 channels and gives 4, but the VAE's latents have 16"),
            ("scaling_factor", 0, "/vae/config.json: scaling_factor: expected a number other than 0"),
            ("scaling_factor", "big", "/vae/config.json: scaling_factor: expected a number"),
            ("block_out_channels", None, "/vae/config.json: block_out_channels: expected a list of 1 to 4 numbers"),
            ("norm_num_groups", 3,
             "/vae/config.json: block_out_channels[0]: expected a multiple of norm_num_groups 3, found 8")]:
        folder(f"vae_{name}_{t.count}", {"vae/config.json": field(name, value)}, message)
        t.count += 1
    for name, value, message in [
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
             "/text_encoder/config.json: num_hidden_layers: expected a whole number from 1 to 48")]:
        folder(f"text_{name}_{t.count}", {"text_encoder/config.json": field(name, value)}, message)
        t.count += 1
    for name, value, message in [
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
            ("trained_betas", [0.1], "/scheduler/scheduler_config.json: trained_betas: expected null, found [0.1]")]:
        folder(f"scheduler_{name}_{t.count}", {"scheduler/scheduler_config.json": field(name, value)}, message)
        t.count += 1
    folder("vae_levels", {"vae/config.json": lambda d: field("up_block_types", ["UpDecoderBlock2D"] * 3)(
        field("down_block_types", ["DownEncoderBlock2D"] * 3)(field("block_out_channels", [8, 8, 16])(d)))},
           ": expected a VAE of 4 levels and 3 colours, found 3 and 3")
    folder("vae_colours", {"vae/config.json": lambda d: field("in_channels", 4)(field("out_channels", 4)(d))},
           ": expected a VAE of 4 levels and 3 colours, found 4 and 4")
    folder("scheduler_broken", {"scheduler/scheduler_config.json": cut(30)},
           "/scheduler/scheduler_config.json: expected a JSON object")
    folder("vocab_broken", {"tokenizer/vocab.json": cut(100)},
           "/tokenizer/vocab.json: expected a JSON object, found an error at byte 99")
    folder("vocab_empty", {"tokenizer/vocab.json": to(b"{}")},
           '/tokenizer/vocab.json: expected an entry "<|startoftext|>", found none')
    folder("vocab_gone", {"tokenizer/vocab.json": None},
           "/tokenizer: expected vocab.json and merges.txt, found only merges.txt")
    folder("merges_gone", {"tokenizer/merges.txt": None},
           "/tokenizer: expected vocab.json and merges.txt, found only vocab.json")
    folder("merges_broken", {"tokenizer/merges.txt": to(b"#version: 0.2\na b c\n")},
           "/tokenizer/merges.txt: expected line 2 to be two entries with one space between them, found 5 bytes "
           "that are not")
    folder("merges_unknown", {"tokenizer/merges.txt": to(b"#version: 0.2\nzz qq\n")},
           "/tokenizer/merges.txt: expected line 2 to join two entries of the vocabulary to a third, found no entry "
           "for the left one")
    folder("tokenizer_gone", {"tokenizer/vocab.json": None, "tokenizer/merges.txt": None},
           "/text_encoder/model.safetensors: the usual tokenizer, for want of the model's own, has 49408 entries, "
           "but the text encoder's table has 600 rows")


def closed_rows(t):
    """Files that this user may not read."""
    for part in ("unet/config.json", UNET, "tokenizer/vocab.json"):
        copy = t.folder_with("closed_" + pathlib.Path(part).stem, {part: lambda data: data},
                             f"/{part}: no permission to read this file")
        (copy / part).chmod(0)
    (t.folder / "locked").mkdir(mode=0o500)
    t.generate(["-o", "{tmp}/locked/a.png"],
               "--output: the folder '{tmp}/locked/' cannot be written: Permission denied")
    t.file("closed.safetensors", b"x" * 100).chmod(0)
    t.row(["generate", "a", "-m", "{tmp}/closed.safetensors"],
          "{tmp}/closed.safetensors: no permission to read this file")
    t.file("closed.png", png(64, 64)).chmod(0)
    t.generate(["-i", "{tmp}/closed.png"], "{tmp}/closed.png: no permission to read this file")
    t.row(["info", "{tmp}/closed.png"], "{tmp}/closed.png: no permission to read this file")


def obey_permissions():
    """Root reads everything; without these two capabilities it is refused like anyone else."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="sdvk test ")
        cls.addClassCleanup(temporary.cleanup)
        cls.tmp = pathlib.Path(temporary.name) / "files"
        cls.cwd = pathlib.Path(temporary.name) / "empty"
        cls.tmp.mkdir()
        cls.cwd.mkdir()
        devices = program.run(SDVK, "devices", "--json")
        cls.device = json.loads(devices.stdout)[0]["name"]

    def refused(self, arguments, message):
        arguments = [os.fsencode(a.replace("{tmp}", str(self.tmp)) if isinstance(a, str) else a) for a in arguments]
        done = subprocess.run([os.fsencode(SDVK), *arguments], capture_output=True, cwd=self.cwd, timeout=120,
                              preexec_fn=obey_permissions)
        shown = done.stderr.decode()
        for path, name in ((str(self.tmp), "{tmp}"), (str(ROOT), "{root}"), (self.device, "{device}")):
            shown = shown.replace(path, name)
        with self.subTest(arguments=arguments):
            self.assertEqual((done.returncode, shown, done.stdout), (2, f"sdvk: {message}\n", b""))
        with self.subTest(left_by=arguments):
            self.assertEqual(list(self.cwd.iterdir()), [])

    def check(self, fill):
        table = Table(self.tmp)
        fill(table)
        for arguments, message in table.rows:
            self.refused(arguments, message)

    def test_commands(self):
        self.check(command_rows)

    def test_options(self):
        self.check(option_rows)

    def test_outputs(self):
        self.check(output_rows)

    def test_init_pictures(self):
        self.check(init_rows)

    def test_model_files(self):
        self.check(file_rows)

    def test_model_folders(self):
        self.check(folder_rows)

    def test_closed_files(self):
        self.check(closed_rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)
