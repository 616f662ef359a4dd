"""Rendering with the command line: files, metadata, determinism, interruption."""
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import time
import unittest
import zlib

import program
from program import MODEL, ROOT, SDVK, run

SMALL = ["-m", MODEL, "--width", "64", "--height", "64", "--steps", "2"]


def chunks(data):
    """(type, content) of each PNG chunk; checks the checksums."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        content = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + content)
        yield kind, content
        at += 12 + length


def texts(data):
    found = {}
    for kind, content in chunks(data):
        if kind == b"tEXt":
            key, value = content.split(b"\0", 1)
            found[key.decode("latin-1")] = value.decode("latin-1")
        elif kind == b"iTXt":
            key, rest = content.split(b"\0", 1)
            value = rest[2:].split(b"\0", 2)[2]
            found[key.decode("latin-1")] = (zlib.decompress(value) if rest[0] else value).decode("utf-8")
    return found


def pixels(data):
    return b"".join(content for kind, content in chunks(data) if kind in (b"IHDR", b"IDAT"))


class Generate(program.Case):
    def picture(self, name, *arguments, prompt="a red mug on a wooden table"):
        self.sdvk("generate", prompt, *SMALL, "-o", name, *arguments)
        return (self.folder / name).read_bytes()

    def test_png_with_metadata(self):
        done = self.sdvk("generate", "a café, 中文", *SMALL, "--seed", "7", "-o", "a b-{seed}.png")
        self.assertEqual(done.stdout, "a b-7.png\n")
        data = (self.folder / "a b-7.png").read_bytes()
        width, height, depth, colour = struct.unpack(">IIBB", next(chunks(data))[1][:10])
        self.assertEqual((width, height, depth, colour), (64, 64, 8, 2))
        found = texts(data)
        self.assertRegex(found["parameters"], r"(?s)\Aa café, 中文\n.*Steps: 2, Sampler: .*Seed: 7, Size: 64x64")
        self.assertEqual(json.loads(found["sdvk"])["seed"], 7)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["a b-7.png"])
        shown = json.loads(self.sdvk("info", "a b-7.png").stdout)
        self.assertEqual(shown["kind"], "picture")
        self.assertIn("café, 中文", json.dumps(shown, ensure_ascii=False))

    def test_seeds_keep_their_digits(self):
        data = self.picture("x.png", "--seed", str(2 ** 53 - 1))
        self.assertEqual(json.loads(texts(data)["sdvk"])["seed"], 2 ** 53 - 1)
        self.assertIn(f"Seed: {2 ** 53 - 1},", texts(data)["parameters"])

    def test_json(self):
        found = json.loads(self.sdvk("generate", "x", *SMALL, "--json", "--quiet", "-o", "x.png").stdout)
        self.assertEqual(found["images"][0]["path"], "x.png")
        self.assertGreater(found["seconds"], 0)
        self.assertIn("llvmpipe", found["device"])

    def test_same_request_same_bytes(self):
        first = self.picture("1.png", "--seed", "5")
        self.assertEqual(first, self.picture("2.png", "--seed", "5"))
        self.assertNotEqual(pixels(first), pixels(self.picture("3.png", "--seed", "6")))
        self.assertNotEqual(pixels(first), pixels(self.picture("4.png", "--seed", "5", prompt="a blue box")))

    def test_batch_is_its_pictures(self):
        self.sdvk("generate", "a box", *SMALL, "--seed", "5", "--count", "3", "-o", "batch-{seed}.png")
        for seed in ("5", "6", "7"):
            self.sdvk("generate", "a box", *SMALL, "--seed", seed, "-o", f"alone-{seed}.png")
            self.assertEqual((self.folder / f"batch-{seed}.png").read_bytes(),
                             (self.folder / f"alone-{seed}.png").read_bytes())

    def test_numbered_names(self):
        done = self.sdvk("generate", "a box", *SMALL, "--count", "2", "-o", "x.png")
        self.assertEqual(done.stdout, "x-1.png\nx-2.png\n")

    def test_prompt_as_an_option(self):
        first = self.picture("first.png", "--seed", "5")
        self.sdvk("generate", *SMALL, "--prompt", "a red mug on a wooden table", "--seed", "5", "-o", "second.png")
        self.assertEqual(first, (self.folder / "second.png").read_bytes())

    def test_existing_file_is_kept(self):
        (self.folder / "x.png").write_bytes(b"mine")
        done = run(SDVK, "generate", "x", *SMALL, "-o", "x.png", cwd=self.folder)
        self.assertEqual(done.returncode, 2)
        self.assertIn("'x.png' exists; --overwrite replaces it", done.stderr)
        self.assertEqual((self.folder / "x.png").read_bytes(), b"mine")
        self.assertGreater(len(self.picture("x.png", "--overwrite")), 1000)

    def test_jpeg_and_init_image(self):
        self.assertEqual(self.picture("x.jpg")[:3], b"\xff\xd8\xff")
        changed = self.picture("y.png", "--init-image", "x.jpg", "--strength", "0.5", "--seed", "1")
        self.assertNotEqual(pixels(changed), pixels(self.picture("z.png", "--seed", "1")))

    def test_odd_sizes(self):
        self.picture("odd.png", "--width", "72", "--height", "104")
        header = next(chunks((self.folder / "odd.png").read_bytes()))[1]
        self.assertEqual(struct.unpack(">II", header[:8]), (72, 104))

    def test_every_sampler_and_schedule(self):
        shown = self.sdvk("generate", "--help").stdout
        for option in ("sampler", "schedule"):
            line = re.search(rf"^ *--{option} .*$", shown, re.M)[0]
            names = line.split("; default:")[0].rsplit(": ", 1)[1].split()
            self.assertGreaterEqual(len(names), 6)
            for name in names:
                with self.subTest(option=option, name=name):
                    self.picture(f"{option}-{name}.png", f"--{option}", name, "--steps", "3")

    def test_label_of_another_program(self):
        same = [self.picture("1.png", "--seed", "1", "--sampler", "DPM++ 2M Karras"),
                self.picture("2.png", "--seed", "1", "--sampler", "dpmpp_2m", "--schedule", "karras")]
        self.assertEqual(pixels(same[0]), pixels(same[1]))

    def test_plan_renders_nothing(self):
        plan = json.loads(self.sdvk("generate", "x", *SMALL, "--plan", "--json").stdout)
        self.assertGreater(plan["peak_bytes"], 10 << 20)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_vae_in_less_memory(self):
        size = ("--width", "136", "--height", "104", "--seed", "3")
        plans = [json.loads(self.sdvk("generate", "x", *SMALL, *size, *less, "--plan", "--json").stdout)["networks"][-1]
                 for less in ((), ("--vae-memory", "1"))]
        self.assertEqual([p["name"] for p in plans], ["vae", "vae"])
        self.assertEqual(plans[0]["strips"], 1)
        self.assertGreater(plans[1]["strips"], 1)
        self.assertLess(plans[1]["activation_bytes"] + plans[1]["host_bytes"], plans[0]["activation_bytes"])
        shown = self.sdvk("generate", "x", *SMALL, *size, "--vae-memory", "1", "--plan").stdout
        self.assertRegex(shown, r"\nthe vae works in up to \d+ strips and keeps \d+\.\d MiB in the host's memory\n")
        whole = self.picture("whole.png", *size)
        self.assertEqual(whole, self.picture("strips.png", *size, "--vae-memory", "1"))

    def test_validation_layers_are_silent(self):
        done = self.sdvk("generate", "x", *SMALL, "--validation", "-o", "x.png")
        self.assertNotIn("error", done.stderr)

    def test_interrupt(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            child = subprocess.Popen([str(a) for a in (SDVK, "generate", "x", *SMALL, "--steps", "1000")],
                                     cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            line = child.stderr.readline()
            while line.startswith("compiling kernels: "):
                line = child.stderr.readline()
            self.assertRegex(line, "step ")
            child.send_signal(number)
            began = time.monotonic()
            out, _ = child.communicate(timeout=60)
            self.assertLess(time.monotonic() - began, 10)
            self.assertEqual((child.returncode, out), (130, ""))
            self.assertEqual(list(self.folder.iterdir()), [])

    def start(self, *more):
        """A command for 50 pictures that has written the first two."""
        child = subprocess.Popen([str(a) for a in (SDVK, "generate", "x", *SMALL, "--seed", "3", "--count", "50", "-o",
                                                   "{index}.png", *more)], cwd=self.folder, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        while not (self.folder / "2.png").exists():
            time.sleep(0.005)
        return child

    def test_pictures_stay_when_the_rest_fails(self):
        child = self.start("--quiet")
        self.assertIsNone(child.poll())
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=60)
        names = sorted(path.name for path in self.folder.iterdir())
        self.assertTrue(2 <= len(names) < 50)
        self.assertEqual((child.returncode, sorted(out.split())), (130, names))
        self.assertIn(f"{len(names)} of 50 pictures were made before\n", errors)
        self.assertEqual((self.folder / "2.png").read_bytes(), self.picture("alone.png", "--seed", "4", prompt="x"))

    def test_list_of_pictures_when_the_rest_fails(self):
        child = self.start("--quiet", "--json")
        (self.folder / "49.png").write_text("mine")
        out, errors = child.communicate(timeout=300)
        told = json.loads(out)
        self.assertEqual(child.returncode, 2)
        self.assertEqual([image["path"] for image in told["images"]], [f"{n}.png" for n in range(1, 49)])
        self.assertIn("'49.png' exists", errors)
        self.assertEqual(told["error"], "a picture cannot be written")
        self.assertEqual((self.folder / "49.png").read_text(), "mine")

    def test_interrupt_while_loading(self):
        """The line about the LoRAs, printed once all is loaded, never comes. A busy machine may load it all before
        the signal arrives, so that there are several tries."""
        for _ in range(10):
            child = subprocess.Popen([str(a) for a in (SDVK, "generate", "x", *SMALL, "--models", ROOT / "samples",
                                                       *["--lora", "acme:0.1"] * 8)],
                                     cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            while child.poll() is None and "acme" not in pathlib.Path(f"/proc/{child.pid}/maps").read_text():
                pass
            child.send_signal(signal.SIGINT)
            out, errors = child.communicate(timeout=60)
            self.assertEqual((child.returncode, out), (130, ""), errors)
            self.assertEqual(list(self.folder.iterdir()), [])
            if "LoRA acme" not in errors:
                return
        self.fail(errors)

    def test_bar_on_a_terminal(self):
        reader, terminal = pty.openpty()
        child = subprocess.Popen([str(a) for a in (SDVK, "generate", "x", *SMALL, "-o", "x.png")], cwd=self.folder,
                                 stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        shown = b""
        while select.select([reader], [], [], 120)[0]:
            try:
                piece = os.read(reader, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(reader)
        out, _ = child.communicate(timeout=60)
        self.assertEqual((child.returncode, out), (0, b"x.png\n"))
        self.assertRegex(shown, rb"\[\.+\] 0/(\d+), compiling kernels.*\[#+\] \1/\1, compiling kernels")
        self.assertRegex(shown, rb"\[#+\.*\] 1/2, \d+ s left")
        self.assertRegex(shown, rb"1 picture in [\d.]+ s on llvmpipe")

    def test_lines_without_a_terminal(self):
        done = self.sdvk("generate", "x", *SMALL, "-o", "x.png")
        self.assertRegex(done.stderr, r"image 1/1: step 2/2, 0 s left\n")
        self.assertNotIn("\r", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
