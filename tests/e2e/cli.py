"""Arguments, messages, exit codes and help of the command line, without rendering."""
import json
import os
import re
import unittest

import program
from program import MODEL, ROOT, SDVK, run


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key stands twice in {keys}")
    return dict(pairs)


class Cli(program.Case):
    def test_no_command(self):
        done = run(SDVK)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertTrue(done.stderr.startswith("usage: sdvk COMMAND"))

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
        for command, title in (("generate", "GENERATE"), ("merge", "CONVERT AND MERGE"), ("bench", "BENCH")):
            shown = self.sdvk(command, "--help").stdout
            section = manual.split(f".SH OPTIONS OF {title}\n")[1].split(".SH ")[0]
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
        for path, kind in ((MODEL, "model"), (ROOT / "samples/loras/acme.safetensors", "LoRA"),
                           (ROOT / "tests/golden/embeddings/a1111.pt", "embedding"),
                           (ROOT / "tests/golden/embeddings/pair.safetensors", "embedding")):
            found = json.loads(self.sdvk("info", path).stdout, object_pairs_hook=no_duplicates)
            self.assertEqual(found["kind"], kind)
        self.assertEqual((found["vectors"], found["widths"]), (2, [32, 48]))

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
                self.assertIn("q8_0", self.complete(shell, "convert", "--type", "q8"))
                self.assertIn("--rule", self.complete(shell, "merge", "--ru"))
                self.assertIn("runtime", self.complete(shell, "generate", "--lora-mode", "r"))
                self.assertIn("--json", self.complete(shell, "devices", "--j"))
                self.assertIn("upsample_conv2d", self.complete(shell, "bench", "--op", "up"))
                self.assertIn("decode", self.complete(shell, "bench", "--network", "d"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
