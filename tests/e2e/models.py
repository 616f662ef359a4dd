"""Model folders: what `sdvk models` lists, and pictures from names."""
import json
import os
import unittest

import program
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
        for name in ("mockup", "small/mockup", "MOCKUP"):
            self.assertEqual(self.picture("--models", self.library, "-m", name), want)
        self.assertEqual(self.picture("--models", self.library / "models", "-m", "mockup"), want)


if __name__ == "__main__":
    unittest.main(verbosity=2)
