"""`sdvk convert` and `sdvk merge`: what they print, and that their files work."""
import json
import resource
import signal
import struct
import subprocess
import unittest

import program
from generate import pixels
from program import MODEL, ROOT, SDVK

LORA = ROOT / "samples/loras/acme.safetensors"


class Convert(program.Case):
    def picture(self, model, *arguments):
        self.sdvk("generate", "an acme red mug", "-m", model, "--width", "64", "--height", "64", "--steps", "2", "--seed",
                  "5", "--quiet", "-o", "x.png", "--overwrite", *arguments)
        return pixels((self.folder / "x.png").read_bytes())

    def header(self, name):
        data = (self.folder / name).read_bytes()
        return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])

    def test_folder_to_files(self):
        want = self.picture(MODEL)
        done = self.sdvk("convert", MODEL, "-o", "one.safetensors")
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.stdout.splitlines()[0].split(), ["network", "tensors", "count", "type", "MiB", "before",
                                                               "MiB", "after", "error", "largest", "error"])
        self.assertRegex(done.stdout, r"\none\.safetensors: 694 tensors, 19\.01 MiB became 19\.01 MiB\n\Z")
        self.assertEqual(self.picture("one.safetensors"), want)
        self.assertEqual(self.header("one.safetensors")["__metadata__"]["format"], "pt")
        self.sdvk("convert", "one.safetensors", "-o", "two.gguf", "--tensor-type-rules", "attn=q8_0,ff\\.net=q4_k",
                  "--type", "f16", "--quiet")
        self.assertNotEqual(self.picture("two.gguf"), want)
        self.sdvk("convert", "two.gguf", "-o", "three.safetensors")
        self.assertEqual({t["dtype"] for name, t in self.header("three.safetensors").items() if name != "__metadata__"},
                         {"F16"})
        self.sdvk("info", "two.gguf")

    def test_json_and_plan(self):
        arguments = ["convert", MODEL, "-o", "x.gguf", "--type", "q4_k", "--json"]
        plan = json.loads(self.sdvk(*arguments, "--plan").stdout)
        self.assertEqual(list(self.folder.iterdir()), [])
        done = json.loads(self.sdvk(*arguments).stdout)
        self.assertEqual((plan["written"], done["written"], done["path"]), (False, True, "x.gguf"))
        for planned, written in zip(plan["groups"], done["groups"], strict=True):
            self.assertLessEqual(planned.items(), written.items())
        self.assertEqual(sum(g["bytes_after"] for g in done["groups"]), done["bytes_after"])
        self.assertEqual(sum(g["tensors"] for g in done["groups"]), done["tensors"])
        self.assertIn(("UNet", "attention", "Q5_0", "Q4_K"),
                      {(g["network"], g["kind"], g["type"], g["asked"]) for g in done["groups"]})
        for g in done["groups"]:
            self.assertEqual(g["error"] > 0, g["type"] != "F16")
            self.assertLess(g["error"], 0.1)

    def test_merge(self):
        self.sdvk("merge", MODEL, "--lora", f"{LORA}:0.8:0.5", "-o", "merged.safetensors", "--type", "f32")
        self.assertEqual(self.picture("merged.safetensors", "--precision", "f32"),
                         self.picture(MODEL, "--precision", "f32", "--lora", f"{LORA}:0.8:0.5"))
        self.assertEqual(self.header("merged.safetensors")["__metadata__"]["sdvk.loras"], "acme:0.8:0.5")

    def test_merge_by_name(self):
        for path, target in (("models/checkpoints/mockup", MODEL), ("models/loras/acme.safetensors", LORA)):
            (self.folder / path).parent.mkdir(parents=True)
            (self.folder / path).symlink_to(target)
        self.sdvk("merge", "mockup", "--models", "models", "-l", "acme", "-o", "merged.gguf")
        self.sdvk("convert", "mockup", "--models", "models", "-o", "plain.gguf")
        self.assertNotEqual(self.picture("merged.gguf"), self.picture("plain.gguf"))

    def test_unused_keys_are_told(self):
        lora, tiny = ROOT / "tests/golden/loras/kohya_unmatched.safetensors", ROOT / "tests/golden/networks/sd1"
        refused = program.run(SDVK, "merge", tiny, "--lora", lora, "-o", self.folder / "x.gguf")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("fit no layer of this model (--lenient ignores them)", refused.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])
        done = self.sdvk("merge", tiny, "--lora", lora, "-o", "x.gguf", "--lenient")
        self.assertIn("LoRA kohya_unmatched: not used: lora_te_text_model_encoder_layers_1_mlp_fc3.lora_down.weight",
                      done.stderr)

    def test_full_disk(self):
        """A file that may not grow stands for it."""
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000000, 5000000))
        done = subprocess.run([SDVK, "convert", MODEL, "-o", "x.safetensors"], cwd=self.folder, capture_output=True,
                              text=True, preexec_fn=small_files)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, "", "sdvk: x.safetensors: cannot be written: File too large\n"))
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
