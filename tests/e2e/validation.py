"""Whole pictures under the Vulkan validation layers with synchronisation checks: not one message."""
import unittest

import program
from program import ROOT, SDVK, run

NETWORKS = ROOT / "tests/golden/networks"


class Validation(program.Case):
    def silent(self, model, *arguments, **environment):
        done = run(SDVK, "generate", "a red mug", "-m", NETWORKS / model, "--seed", "7", "--steps", "2",
                   "--width", "72", "--height", "104", "--validation", "-o", "x.png", *arguments, cwd=self.folder,
                   env=environment)
        self.assertEqual((done.returncode, done.stdout), (0, "x.png\n"), done.stderr)
        self.assertRegex(done.stderr, r"\A((compiling kernels: \d+/\d+|image 1/1: step \d/\d, \d+ s left)\n)+"
                                      r"1 picture in [^\n]*\n\Z")

    def test_sd1_compiled_anew(self):
        self.silent("sd1", MESA_SHADER_CACHE_DISABLE="1")

    def test_strips(self):
        strips = (ROOT / "samples/mockup", "--width", "136", "--vae-memory", "1")
        self.silent(*strips)
        self.silent(*strips, "--init-image", "x.png", "--strength", "1", "--overwrite")

    def test_sdxl_halves_from_a_picture(self):
        self.silent("sd1")
        self.silent("sdxl", "--precision", "f16", "--init-image", "x.png", "--strength", "1", "--overwrite")


if __name__ == "__main__":
    unittest.main(verbosity=2)
