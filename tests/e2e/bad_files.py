"""Damaged, foreign and odd files: each gives one sentence that names the file and what is wrong, never a crash and
never a picture."""
import json
import os
import re
import shutil
import struct
import unittest

import program
from program import MODEL, ROOT, SDVK, run

GOOD = ROOT / "tests/golden/networks/sd1.safetensors"
UNET = "model.diffusion_model.input_blocks.0.0.weight"
WEIGHTS = {"unet": "unet/diffusion_pytorch_model.safetensors", "vae": "vae/diffusion_pytorch_model.safetensors",
           "text": "text_encoder/model.safetensors"}


def read(path=GOOD):
    data = path.read_bytes()
    [length] = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def joined(header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def changed(name, **fields):
    header, data = read()
    header[name].update(fields)
    return joined(header, data)


def renamed(rename):
    header, data = read()
    kept = {rename(name): value for name, value in header.items() if rename(name)}
    return joined(kept, data)


def without(prefix, path=GOOD):
    """A file of the same form whose tensors of that prefix are gone, data and all."""
    header, data = read(path)
    header.pop("__metadata__", None)
    out, kept = {}, b""
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if not name.startswith(prefix):
            piece = data[slice(*entry["data_offsets"])]
            out[name] = {**entry, "data_offsets": [len(kept), len(kept) + len(piece)]}
            kept += piece
    return joined(out, kept)


def only(names):
    data = b"\0" * 4 * len(names)
    return joined({n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
                   for i, n in enumerate(names)}, data)


def shifted(name):
    header, _ = read()
    begin, end = header[name]["data_offsets"]
    return changed(name, data_offsets=[begin + 4, end + 4])


def twice():
    header, data = read()
    text = json.dumps(header, separators=(",", ":")).encode()
    entry = json.dumps({UNET: header[UNET]}, separators=(",", ":")).encode()
    return joined(text[:-1] + b"," + entry[1:], data)


# name, bytes of the file, what the message must hold beside the file's name
SINGLE = [
    ("empty", lambda: b"", "is empty"),
    ("short", lambda: b"\x10\0\0\0", "found only 4 bytes"),
    ("picture", lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "found a PNG picture"),
    ("text", lambda: b"this is not a model at all, just a text\n" * 10, "header"),
    ("zip", lambda: b"PK\x03\x04" + b"\0" * 200, "found a PyTorch checkpoint"),
    ("cut_in_header", lambda: GOOD.read_bytes()[:500], "cut short"),
    ("cut_in_data", lambda: GOOD.read_bytes()[:-1000], "data"),
    ("longer", lambda: GOOD.read_bytes() + b"\0" * 64, "data"),
    ("header_of_2_to_the_63", lambda: joined(*read(), length=1 << 63), "header"),
    ("header_of_all_ones", lambda: joined(*read(), length=(1 << 64) - 1), "header"),
    ("header_of_0", lambda: joined(*read(), length=0), "header"),
    ("header_a_list", lambda: joined(b"[1, 2]  ", b""), "header"),
    ("header_not_json", lambda: joined(b'{"a": }  ', b""), "header"),
    ("header_not_utf8", lambda: joined(b'{"a\xff": 1}', b""), "UTF-8"),
    ("header_deep", lambda: joined(b"[" * 5000 + b"]" * 5000, b""), "header"),
    ("no_tensors", lambda: joined(b"{}", b""), ""),
    ("name_twice", twice, "twice"),
    ("dtype_unknown", lambda: changed(UNET, dtype="F7"), "F7"),
    ("dtype_of_other_size", lambda: changed(UNET, dtype="F64"), UNET),
    ("dtype_a_number", lambda: changed(UNET, dtype=3), UNET),
    ("dtype_of_integers", lambda: changed(UNET, dtype="I32"), UNET),
    ("shape_negative", lambda: changed(UNET, shape=[-1, 4, 3, 3]), "found -1"),
    ("shape_fraction", lambda: changed(UNET, shape=[1.5, 4, 3, 3]), "found 1.5"),
    ("shape_overflows", lambda: changed(UNET, shape=[1 << 40, 1 << 40, 3, 3]), UNET),
    ("shape_of_rank_9", lambda: changed(UNET, shape=[1] * 9), UNET),
    ("offsets_overlap", lambda: shifted(UNET), "data"),
    ("offsets_backwards", lambda: changed(UNET, data_offsets=[100, 0]), UNET),
    ("offsets_far_away", lambda: changed(UNET, data_offsets=[1 << 62, (1 << 62) + 4]), UNET),
    ("offsets_one", lambda: changed(UNET, data_offsets=[0]), UNET),
    ("unet_missing", lambda: without("model.diffusion_model."), ""),
    ("vae_missing", lambda: without("first_stage_model."), ""),
    ("text_missing", lambda: without("cond_stage_model."), "text"),
    ("names_unknown", lambda: renamed(lambda n: n if n == "__metadata__" else "x." + n), ""),
    ("sd3", lambda: only(["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"]),
     "Stable Diffusion 3"),
    ("flux", lambda: only(["double_blocks.0.img_attn.qkv.weight"]), "Flux"),
    ("lora", lambda: (ROOT / "samples/loras/acme.safetensors").read_bytes(), "LoRA"),
]


def remove(path):
    return lambda folder: (folder / path).unlink()


def write(path, text):
    return lambda folder: (folder / path).write_text(text)


def set_json(path, key, value):
    def change(folder):
        config = json.loads((folder / path).read_text())
        config[key] = value
        (folder / path).write_text(json.dumps(config))
    return change


def drop_tensor(part, name):
    return lambda folder: (folder / WEIGHTS[part]).write_bytes(without(name, folder / WEIGHTS[part]))


def transpose(part, name):
    def change(folder):
        header, data = read(folder / WEIGHTS[part])
        header[name]["shape"].reverse()
        (folder / WEIGHTS[part]).write_bytes(joined(header, data))
    return change


# name, what is done to a copy of the sample model, what the message must hold
FOLDERS = [
    ("no_index", remove("model_index.json"), "model_index.json"),
    ("unet_config_gone", remove("unet/config.json"), "unet/config.json"),
    ("unet_config_not_json", write("unet/config.json", "no"), "expected a JSON object"),
    ("unet_config_other_width", set_json("unet/config.json", "block_out_channels", [32, 64, 128, 256]), "unet"),
    ("unet_config_huge", set_json("unet/config.json", "cross_attention_dim", 1 << 40), "cross_attention_dim"),
    ("unet_config_unknown_field", set_json("unet/config.json", "levitation", 3), "levitation"),
    ("unet_weights_gone", remove("unet/diffusion_pytorch_model.safetensors"), "unet"),
    ("unet_weights_empty", write("unet/diffusion_pytorch_model.safetensors", ""), "diffusion_pytorch_model.safetensors"),
    ("vae_config_gone", remove("vae/config.json"), "vae/config.json"),
    ("text_config_gone", remove("text_encoder/config.json"), "text_encoder"),
    ("vocabulary_not_json", write("tokenizer/vocab.json", "[]"), "tokenizer/vocab.json: expected a JSON object"),
    ("unet_tensor_missing", drop_tensor("unet", "mid_block.attentions.0.norm.weight"), "mid_block.attentions.0.norm"),
    ("unet_tensor_transposed", transpose("unet", "conv_in.weight"), "conv_in.weight"),
    ("vae_tensor_missing", drop_tensor("vae", "decoder.conv_out.weight"), "decoder.conv_out.weight"),
    ("text_tensor_missing", drop_tensor("text", "text_model.final_layer_norm.weight"), "final_layer_norm"),
    ("text_tensor_transposed", transpose("text", "text_model.embeddings.token_embedding.weight"), "token_embedding"),
]


class BadFiles(program.Case):
    def refused(self, path, message, codes=(2,)):
        done = run(SDVK, "generate", "a box", "-m", path, "--width", "64", "--height", "64", "--steps", "1",
                   "-o", "made.png", cwd=self.folder)
        self.assertIn(done.returncode, codes, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Asdvk: [^\n]{10,600}\n\Z")
        self.assertIn(path.name, done.stderr)
        self.assertIn(message, done.stderr)
        self.assertFalse((self.folder / "made.png").exists())
        info = run(SDVK, "info", path, cwd=self.folder)
        self.assertIn(info.returncode, (0, *codes), info.stderr)

    def test_single_files(self):
        for name, make, message in SINGLE:
            with self.subTest(name):
                path = self.folder / f"{name}.safetensors"
                path.write_bytes(make())
                self.refused(path, message)

    def test_folders(self):
        for name, change, message in FOLDERS:
            with self.subTest(name):
                path = self.folder / name
                shutil.copytree(MODEL, path)
                change(path)
                self.refused(path, message)

    def test_not_files(self):
        (self.folder / "nothing").mkdir()
        self.refused(self.folder / "nothing", "model_index.json")
        self.refused(self.folder / "absent", "No such file")
        os.mkfifo(self.folder / "pipe")
        self.refused(self.folder / "pipe", "file", (1, 2))

    def test_unreadable(self):
        path, copy = self.folder / "secret.safetensors", self.folder / "sdvk"
        path.write_bytes(GOOD.read_bytes())
        path.chmod(0)
        shutil.copy(SDVK, copy)
        self.folder.chmod(0o755)
        # root may read everything, so that another user has to try
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        done = run(*user, copy, "info", path)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, re.escape(str(path)) + ": no permission to read")

    def test_bad_pictures(self):
        good = (ROOT / "docs/picture.png").read_bytes()
        for name, data in (("empty", b""), ("cut", good[:200]), ("text", b"hello" * 20), ("turned", good[::-1]),
                           ("jpeg", b"\xff\xd8\xff\xe0" + b"\0" * 50)):
            with self.subTest(name):
                (self.folder / f"{name}.png").write_bytes(data)
                done = run(SDVK, "generate", "a box", "-m", MODEL, "-i", f"{name}.png", "-o", "made.png",
                           cwd=self.folder)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertRegex(done.stderr, rf"\Asdvk: [^\n]*{name}\.png[^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main(verbosity=2)
