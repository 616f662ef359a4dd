"""Model folders: what `sdvk models` lists, and pictures from names."""
import contextlib
import hashlib
import json
import os
import sqlite3
import unittest

import program
from generate import pixels, texts
from program import MODEL, ROOT

LORA = ROOT / "samples/loras/acme.safetensors"


class Models(program.Case):
    def setUp(self):
        super().setUp()
        self.library = self.folder / "A1111"
        for folder, target in (("models/Stable-diffusion/small/mockup", MODEL),
                               ("models/Lora/style/acme.safetensors", LORA)):
            link = self.library / folder
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def picture(self, *arguments, prompt="an acme red mug"):
        self.sdvk("generate", prompt, "--width", "64", "--height", "64", "--steps", "2", "--seed", "5", "-o", "x.png",
                  "--overwrite", *arguments)
        return (self.folder / "x.png").read_bytes()

    def test_list(self):
        self.assertEqual(self.sdvk("models", self.library).stdout,
                         "checkpoint         folder  small/mockup\n"
                         f"lora         {LORA.stat().st_size / 2**20:8.1f} MiB  style/acme\n")
        found = json.loads(self.sdvk("models", self.library, "--json").stdout)
        self.assertEqual(found, {"folder": str(self.library), "files": [
            {"kind": "checkpoint", "name": "small/mockup",
             "path": f"{self.library}/models/Stable-diffusion/small/mockup"},
            {"kind": "lora", "name": "style/acme", "path": f"{self.library}/models/Lora/style/acme.safetensors",
             "bytes": os.path.getsize(LORA)}]})

    def test_checkpoint_by_name(self):
        want = self.picture("-m", MODEL)
        for name in ("small/mockup", "MOCKUP"):
            self.assertEqual(self.picture("--models", self.library, "-m", name), want)
        self.assertEqual(self.picture("--models", self.library / "models", "-m", "mockup"), want)

    def test_loras_by_name(self):
        want = self.picture("-m", MODEL, "--lora", f"{LORA}:0.5:0.25")
        for name in ("acme", "Lora/style/acme.safetensors"):
            self.assertEqual(pixels(self.picture("--models", self.library, "-m", "mockup", "--lora", f"{name}:0.5:0.25")),
                             pixels(want))
        tagged = self.picture("--models", self.library, "-m", "mockup", prompt="an acme <lora:acme:0.5:0.25>red mug")
        self.assertEqual(pixels(tagged), pixels(want))
        record = json.loads(texts(tagged)["sdvk"])
        self.assertEqual(record["loras"], [{
            "name": "acme", "file": "acme.safetensors", "sha256": hashlib.sha256(LORA.read_bytes()).hexdigest(),
            "unet": 0.5, "text": 0.25, "in_prompt": True}])
        self.assertRegex(texts(tagged)["parameters"],
                         r"\Aan acme <lora:acme:0.5:0.25>red mug\nSteps: .*, Lora hashes: \"acme: 063576c6cbcf\", ")

    def test_reports(self):
        done = self.sdvk("generate", "a <lora:acme:0.5> and <lora:style/acme:0.25:1>", "--models", self.library, "-m",
                         "mockup", "--width", "64", "--height", "64", "--steps", "1", "-o", "x.png")
        self.assertIn("LoRA acme at 0.5: LoRA of rank 8, 120 of 120 modules\n"
                      "LoRA acme at 0.25 (text 1): LoRA of rank 8, 120 of 120 modules\n", done.stderr)

    def test_embeddings(self):
        golden = ROOT / "tests/golden"
        tiny = ["-m", golden / "networks/sd1", "--negative-prompt", "halves"]
        named = self.picture(*tiny, "--models", golden, prompt="a photo of one mug")
        given = self.picture(*tiny, "-e", golden / "embeddings/one.safetensors", "--embedding",
                             golden / "embeddings/halves.safetensors", prompt="a photo of one mug")
        self.assertEqual(named, given)
        self.assertNotEqual(pixels(named), pixels(self.picture(*tiny, prompt="a photo of one mug")))
        hashes = {name: hashlib.sha256((golden / f"embeddings/{name}.safetensors").read_bytes()).hexdigest()
                  for name in ("halves", "one")}
        self.assertEqual(json.loads(texts(named)["sdvk"])["embeddings"], [
            {"name": "halves", "file": "halves.safetensors", "sha256": hashes["halves"], "vectors": 2},
            {"name": "one", "file": "one.safetensors", "sha256": hashes["one"], "vectors": 1}])
        self.assertIn(f', TI hashes: "halves: {hashes["halves"][:12]}, one: {hashes["one"][:12]}", ',
                      texts(named)["parameters"])

    def test_hashes_are_remembered(self):
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        database = self.folder / "cache/sdvk/hashes.sqlite"
        arguments = ["generate", "a <lora:acme>", "--models", self.library, "-m", "mockup", "--width", "64", "--height",
                     "64", "--steps", "1", "--overwrite", "-o", "x.png"]
        done = self.sdvk(*arguments, env=cache)
        self.assertNotIn("warning", done.stderr)
        with contextlib.closing(sqlite3.connect(database)) as opened:
            rows = {(os.path.basename(path), kind): sha256
                    for path, kind, sha256 in opened.execute("SELECT path, kind, sha256 FROM hashes")}
        model = MODEL / "unet/diffusion_pytorch_model.safetensors"
        self.assertEqual(rows, {
            (model.name, "file"): hashlib.sha256(model.read_bytes()).hexdigest(),
            ("acme.safetensors", "file"): hashlib.sha256(LORA.read_bytes()).hexdigest(),
            ("acme.safetensors", "data"): rows["acme.safetensors", "data"]})
        database.write_bytes(b"no database at all, but long enough for its header to be looked at, all of it" * 4)
        done = self.sdvk(*arguments, env=cache)
        self.assertIn(f"sdvk: warning: {database}: hashes are not remembered: file is not a database\n", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
