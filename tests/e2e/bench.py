"""`sdvk bench`: every op at a tiny shape, a model's network, and what it says to wrong requests."""
import json
import re
import unittest

import program
from cli import no_duplicates
from program import MODEL, SDVK, run

REFUSED = [
    (["--family", "sd1", "--model", MODEL], "family: the model has its own, found 'sd1'"),
    (["--model", "none"], "none: cannot open the model: No such file or directory"),
    (["--size", "64"], "--size: expected WIDTHxHEIGHT, e.g. 64x64, found '64'"),
    (["--size", "64x"], "--size: expected WIDTHxHEIGHT, e.g. 64x64, found '64x'"),
    (["--op", "conv"], "unknown op 'conv'; there are linear, geglu, conv2d, conv2d_down, "
     "upsample_conv2d, resize_nearest, attention, group_norm, layer_norm, silu, gelu, quick_gelu, add, lerp, "
     "scale, copy, cast, embedding, timestep_embedding"),
    (["--op", "conv2b"], "unknown op 'conv2b'; did you mean 'conv2d'?"),
    (["--heads", "8"], "--heads: only for a single op; --op is missing"),
    (["--op", "linear", "--shapes"], "--shapes: only for networks, not with --op"),
    (["--op", "linear", "--heads", "8"],
     "linear has no heads; it takes batch, width, height, channels, second, outputs, runs, fuse vector, "
     "fuse residual, fuse silu, fuse gelu, fuse quick_gelu"),
    (["--op", "copy", "--fuse", "silu"],
     "copy has no fuse silu; it takes batch, width, height, channels, second, runs"),
    (["--op", "linear", "--fuse", "silu+gelu"],
     "fuse: expected one of silu, gelu and quick_gelu, found 'silu+gelu'"),
    (["--op", "geglu", "--channels", "320:"],
     "--channels: expected IN, IN:OUT or IN+SKIP:OUT, e.g. 320:640, found '320:'"),
    (["--op", "geglu", "--channels", "+320"],
     "--channels: expected IN, IN:OUT or IN+SKIP:OUT, e.g. 320:640, found '+320'"),
    (["--op", "geglu", "--tokens", "0"], "--tokens: expected N or N:KEYS, e.g. 4096:77, found '0'"),
    (["--op", "geglu", "--batch", "65"], "batch: expected 1 to 64, found 65"),
    (["--op", "conv2d", "--kernel", "2"], "kernel: expected 1 or 3, found 2"),
    (["--op", "conv2d", "--kernel", "5"], "kernel: expected 1 to 3, found 5"),
    (["--op", "conv2d", "--kernel", "three"],
     "--kernel: expected a whole number from 1 to 65536, found 'three'"),
    (["--op", "group_norm", "--channels", "40"],
     "groups: expected a divisor of the 40 channels, found 32"),
    (["--op", "copy", "--size", "65536x65536"],
     "size: expected up to 16777216 pixels, found 65536 x 65536"),
    (["--op", "attention", "--head-size", "42"],
     "attention: expected heads of 8, 16, ... 160 or 192, 256, ... 512 channels, found 336 channels in 8 heads"),
    (["--op", "copy", "--size", "65536x256", "--channels", "65536"],
     "a tensor of shape [1,256,65536,65536] has more than 2^32 elements"),
]


class Bench(program.Case):
    def bench(self, *arguments):
        shown = self.sdvk("bench", "--runs", "1", "--json", *arguments).stdout
        found = json.loads(shown, object_pairs_hook=no_duplicates)
        for field in ("peak_flops", "peak_bandwidth", "median_seconds", "best_seconds", "record_seconds", "bytes"):
            self.assertGreater(found[field], 0, field)
        peak = found["peak_flops"]
        if "f16" in arguments:
            peak = max(peak, found["peak_f16_flops"])
        self.assertAlmostEqual(found["percent_of_flops"],
                               100 * found["flop"] / found["median_seconds"] / peak, delta=0.1)
        self.assertAlmostEqual(found["percent_of_bandwidth"],
                               100 * found["bytes"] / found["median_seconds"] / found["peak_bandwidth"], delta=0.1)
        self.assertEqual(found["runs"], 1)
        return found

    def test_bench_runs_every_op(self):
        """Work and shapes as computed by hand."""
        shown = self.sdvk("bench", "--help").stdout
        names = re.search(r"^ops: (.*)$", shown, re.M)[1].split()
        self.assertIn("attention", names)
        for name in names:
            with self.subTest(op=name):
                found = self.bench("--op", name, "--size", "8x4", "--batch", "2")
                self.assertEqual((found["op"], found["width"], found["height"], found["batch"]), (name, 8, 4, 2))
                self.assertGreaterEqual(found["repeats"], 1)
                self.assertEqual(sum(o["nodes"] for o in found["ops"]), found["nodes"])

    def test_bench_of_a_shape(self):
        found = self.bench("--op", "conv2d", "--size", "8x4", "--channels", "32+64:40", "--fuse", "vector+silu+residual")
        self.assertEqual((found["channels"], found["second"], found["outputs"], found["kernel"]), (32, 64, 40, 3))
        self.assertEqual(found["flop"], 2 * 8 * 4 * 96 * 40 * 9)
        self.assertEqual(found["parameters"], 96 * 40 * 9 + 40)
        self.assertEqual(found["fuse"], "vector+silu+residual")
        found = self.bench("--op", "attention", "--tokens", "24:7", "--heads", "2", "--head-size", "16",
                           "--fuse", "causal", "--precision", "f16")
        self.assertEqual((found["keys"], found["heads"], found["head_size"]), (7, 2, 16))
        self.assertEqual(found["flop"], 4 * 24 * 7 * 32)
        self.assertEqual(found["bytes"], (24 + 7) * 2 * 32 * 2)
        text = self.sdvk("bench", "--op", "geglu", "--tokens", "10", "--channels", "16:24", "--runs", "2").stdout
        self.assertRegex(text, r"(?m)^geglu 10x1 16:24, batch 1: [\d.]+ ms median of 2 ")

    def test_bench_of_a_model(self):
        found = self.bench("--model", MODEL, "--size", "64x64", "--shapes")
        rows = {o["name"]: o for o in found["ops"]}
        plan = json.loads(self.sdvk("generate", "a", "--model", MODEL, "--plan", "--json").stdout)
        unet = next(n for n in plan["networks"] if n["name"] == "unet")
        self.assertEqual(found["parameters"], unet["parameters"])
        self.assertEqual(found["weight_bytes"], unet["weight_bytes"])
        self.assertEqual(rows["conv2d 8x8 4:32 k3"]["nodes"], 1)
        self.assertEqual(rows["conv2d 8x8 4:32 k3"]["flop"], 2 * 64 * 4 * 32 * 9)
        self.assertEqual([o["seconds"] for o in found["ops"]], sorted((o["seconds"] for o in found["ops"]), reverse=True))

    def test_wrong_requests(self):
        for arguments, message in REFUSED:
            with self.subTest(arguments=arguments):
                done = run(SDVK, "bench", *arguments, cwd=self.folder)
                self.assertEqual((done.returncode, done.stderr, done.stdout), (2, f"sdvk: {message}\n", ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
