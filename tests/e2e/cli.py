"""Arguments, messages, exit codes and help of the command line, without rendering."""
import json
import os
import re
import subprocess
import unittest

import program
from program import MODEL, ROOT, SDVK, run

# arguments, what the message must hold
WRONG = [
    ([], "usage"),
    (["generat"], "did you mean 'generate'?"),
    (["frobnicate"], "unknown command 'frobnicate'"),
    (["generate"], "expected a prompt"),
    (["generate", "a mug"], "--model is missing"),
    (["generate", "a", "b", "-m", MODEL], "expected one prompt, found also 'b'"),
    (["generate", "a", "-m"], "-m: a value is missing"),
    (["generate", "a", "-m", MODEL, "--sampler", "eular"], "unknown sampler 'eular'; did you mean 'euler'?"),
    (["generate", "a", "-m", MODEL, "--schedule", "karas"], "did you mean 'karras'?"),
    (["generate", "a", "-m", MODEL, "--smapler", "euler"], "did you mean '--sampler'?"),
    (["generate", "a", "-m", MODEL, "--steps", "0"], "steps: expected 1 to 1000, found 0"),
    (["generate", "a", "-m", MODEL, "--steps", "two"], "steps: expected a whole number, found 'two'"),
    (["generate", "a", "-m", MODEL, "--steps", "2.5"], "steps: expected a whole number"),
    (["generate", "a", "-m", MODEL, "--steps", ""], "steps: expected a whole number"),
    (["generate", "a", "-m", MODEL, "--width", "100"], "width: expected a multiple of 8, found 100"),
    (["generate", "a", "-m", MODEL, "--height", "999999999999"], "height: expected 64 to 8192"),
    (["generate", "a", "-m", MODEL, "--cfg-scale", "nan"], "cfg_scale: expected a number"),
    (["generate", "a", "-m", MODEL, "--cfg-scale", "-3"], "cfg_scale: expected 1 to 100"),
    (["generate", "a", "-m", MODEL, "--strength", "2", "-i", "x.png"], "strength: expected 0.01 to 1"),
    (["generate", "a", "-m", MODEL, "--seed", "1e400"], "seed: expected"),
    (["generate", "a", "-m", MODEL, "--count", "-1"], "count: expected 1 to 1000"),
    (["generate", "a", "-m", MODEL, "--rng", "dice"], "rng"),
    (["generate", "a", "-m", MODEL, "--precision", "f8"], "--precision: expected auto, f32 or f16, found 'f8'"),
    (["generate", "a", "-m", MODEL, "--prediction", "x"], "--prediction: expected epsilon or v"),
    (["generate", "a", "-m", MODEL, "--json=1"], "--json takes no value"),
    (["generate", b"a \xff", "-m", MODEL], "UTF-8"),
    (["devices", "x"], "unexpected argument 'x'"),
    (["info"], "expected a file or folder"),
    (["info", "a", "b"], "expected one file, found also 'b'"),
    (["info", "none.png"], "none.png"),
]
# These open a device before they find what is wrong.
WRONG_LATER = [
    (["generate", "a", "-m", "none"], "none"),
    (["generate", "a", "-m", ROOT / "LICENSE"], "LICENSE"),
    (["generate", "a", "-m", ROOT / "docs"], "docs"),
    (["generate", "a", "-m", MODEL, "-d", "no such card"], "no such card"),
    (["generate", "a", "-m", MODEL, "-o", "a.gif"], "expected a name that ends in .png, .jpg or .jpeg"),
    (["generate", "a", "-m", MODEL, "-o", "none/a.png"], "the folder 'none/' does not exist"),
    (["generate", "a", "-m", MODEL, "-i", "none.png"], "none.png"),
]


def raw(arguments, cwd):
    """Bytes, because some arguments are not UTF-8."""
    return subprocess.run([os.fsencode(a) for a in (SDVK, *arguments)], capture_output=True, cwd=cwd, timeout=120)


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key stands twice in {keys}")
    return dict(pairs)


class Cli(program.Case):
    def refused(self, arguments, message):
        with self.subTest(arguments=arguments):
            done = raw(arguments, self.folder)
            error = done.stderr.decode()
            self.assertEqual(done.returncode, 2, error)
            self.assertEqual(done.stdout, b"")
            self.assertIn(message, error)
            if arguments:
                self.assertRegex(error, r"\Asdvk: [^\n]+\n\Z", "one line")
            self.assertEqual(list(self.folder.iterdir()), [])

    def test_wrong_arguments(self):
        for arguments, message in WRONG:
            self.refused(arguments, message)

    def test_wrong_files(self):
        for arguments, message in WRONG_LATER:
            self.refused(arguments, message)

    def test_help(self):
        shown = self.sdvk("--help").stdout
        commands = re.findall(r"^  (\w+) ", shown, re.M)
        self.assertIn("generate", commands)
        for command in commands:
            self.assertTrue(self.sdvk(command, "--help").stdout.startswith(f"usage: sdvk {command}"), command)

    def test_version_is_the_projects(self):
        version = re.search(r"project\(sdvk VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
        self.assertEqual(self.sdvk("--version").stdout, f"sdvk {version}\n")
        self.assertIn(f'"sdvk {version}"', (ROOT / "docs/sdvk.1").read_text())

    def test_manual_names_every_option(self):
        manual = (ROOT / "docs/sdvk.1").read_text().replace("\\-", "-")
        for command in ("generate", "bench"):
            shown = self.sdvk(command, "--help").stdout
            section = manual.split(f".SH OPTIONS OF {command.upper()}\n")[1].split(".SH ")[0]
            self.assertEqual(set(re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", shown, re.M)),
                             set(re.findall(r"(?<!\w)--([a-z0-9-]+)", section)))
        rendered = self.ok("man", "--warnings", "-l", ROOT / "docs/sdvk.1", env={"MANWIDTH": "80"})
        self.assertEqual(rendered.stderr, "")

    def test_devices(self):
        devices = json.loads(self.sdvk("devices", "--json").stdout, object_pairs_hook=no_duplicates)
        self.assertGreaterEqual(len(devices), 1)
        self.assertIn(devices[0]["name"], self.sdvk("devices").stdout)
        self.assertEqual([d["index"] for d in devices], list(range(len(devices))))

    def test_no_device(self):
        done = run(SDVK, "devices", env={"VK_ICD_FILENAMES": "none.json", "VK_DRIVER_FILES": "none.json"})
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"(?m)^sdvk: .*Vulkan")

    def test_info(self):
        for path, kind in ((MODEL, "model"), (ROOT / "samples/loras/acme.safetensors", "LoRA")):
            found = json.loads(self.sdvk("info", path).stdout, object_pairs_hook=no_duplicates)
            self.assertEqual(found["kind"], kind)

    def complete(self, shell, *words):
        script = ROOT / f"cli/completions/sdvk.{shell}"
        path = {"PATH": f"{SDVK.parent}:{os.environ['PATH']}"}
        if shell == "bash":
            line = " ".join(f"'{w}'" for w in ("sdvk", *words))
            code = f'. "$1"; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _sdvk; printf "%s\\n" "${{COMPREPLY[@]}}"'
            return self.ok("bash", "-c", code, "bash", script, env=path).stdout.split()
        if shell == "fish":
            code = f'source "$argv[1]"; complete -C "{" ".join(("sdvk", *words))}"'
            lines = self.ok("fish", "--no-config", "-c", code, script, env=path).stdout.splitlines()
            return [line.split("\t")[0] for line in lines]
        # compadd shows what it would offer; words after its options are the candidates.
        line = " ".join(f"'{w}'" for w in ("sdvk", *words))
        code = ('compadd() { print -l -- ${@:#--}; }; _files() { :; }; compdef() { :; }; '
                f'words=({line}); CURRENT={len(words) + 1}; . "$1"')
        return self.ok("zsh", "-f", "-c", code, "zsh", script, env=path).stdout.split()

    def test_completions(self):
        for shell in ("bash", "zsh", "fish"):
            with self.subTest(shell=shell):
                self.assertIn("generate", self.complete(shell, "g"))
                self.assertIn("--sampler", self.complete(shell, "generate", "--sa"))
                self.assertIn("dpmpp_2m", self.complete(shell, "generate", "--sampler", "d"))
                self.assertIn("karras", self.complete(shell, "generate", "--schedule", "k"))
                self.assertIn("f16", self.complete(shell, "generate", "--precision", "f"))
                self.assertIn("--json", self.complete(shell, "devices", "--j"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
