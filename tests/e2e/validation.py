"""Whole pictures under the Vulkan validation layers with synchronisation checks: not one message."""
import unittest

import program
from program import ROOT, SDVK, run

NETWORKS = ROOT / "tests/golden/networks"


class Validation(program.Case):
    def silent(self, model, *arguments):
        done = run(SDVK, "generate", "a red mug", "-m", NETWORKS / model, "--seed", "7", "--steps", "2",
                   "--width", "72", "--height", "104", "--validation", "-o", "x.png", *arguments, cwd=self.folder)
        self.assertEqual((done.returncode, done.stdout), (0, "x.png\n"), done.stderr)
        self.assertRegex(done.stderr, r"\A(image 1/1: step \d/\d, \d+ s left\n)+1 picture in [^\n]*\n\Z")

    def test_sd1(self):
        self.silent("sd1")

    def test_sdxl_halves_from_a_picture(self):
        self.silent("sd1")
        self.silent("sdxl", "--precision", "f16", "--init-image", "x.png", "--strength", "1", "--overwrite")


if __name__ == "__main__":
    unittest.main(verbosity=2)
