"""demo.sh from a fresh copy of the sources in a folder with blanks: first run, second run, a normal user, and what it
says when it cannot go on."""
import os
import re
import shlex
import shutil
import subprocess
import sys
import unittest

import program
from program import ROOT, run

sys.path.insert(0, str(ROOT / "tests/tree"))
from files import is_foreign  # noqa: E402

NOBODY = 65534


def commands():
    return [shlex.split(line) for line in re.findall(r"^\./demo\.sh.*$", (ROOT / "README.md").read_text(), re.M)]


class Demo(program.Case):
    def copy(self):
        tree = self.folder / "a copy"
        skipped = lambda folder, names: [n for n in names if is_foreign((program.pathlib.Path(folder) / n)
                                                                        .relative_to(ROOT)) or n == "golden"]
        shutil.copytree(ROOT, tree, ignore=skipped)
        return tree

    def demo(self, tree, *arguments, user=(), **options):
        return run(*user, *arguments, "--steps", "2", cwd=tree, timeout=1500, **options)

    def test_first_and_second_run(self):
        tree = self.copy()
        user, env = [], {"XDG_CACHE_HOME": str(self.folder / "cache")}
        if os.geteuid() == 0:
            # As a user without rights, which must do when all packages are there.
            os.chmod(self.folder, 0o777)
            self.ok("chown", "-R", f"{NOBODY}:{NOBODY}", tree)
            user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        first, second = commands()[:2]
        done = self.demo(tree, *first, user=user, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\Aout/mockup-\d+\.png\n\Z")
        self.assertRegex(done.stderr, r"1 picture in [\d.]+ s on llvmpipe")
        self.assertTrue((tree / done.stdout.strip()).is_file())

        done = self.demo(tree, *second, user=user, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "out/mockup-7.png\n")
        self.assertNotIn("building", done.stderr)

        done = self.demo(tree, "./demo.sh", "--plan", user=user, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("building", done.stderr)

        done = self.demo(tree, "./demo.sh", "--sampler", "eular", user=user, env=env)
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean 'euler'?", done.stderr)

    def test_says_what_is_missing(self):
        tree = self.copy()
        # Only what the script itself needs; neither a compiler nor apt-get.
        bare = self.folder / "bin"
        bare.mkdir()
        for tool in ("bash", "env", "dirname", "basename", "readlink", "grep", "cat", "mkdir", "pkg-config"):
            (bare / tool).symlink_to(shutil.which(tool))
        done = run("./demo.sh", cwd=tree, env={"PATH": str(bare)})
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Ademo\.sh: install these programs .*: cc cmake ninja glslc spirv-val\n\Z")

    def test_packages_cannot_be_installed(self):
        tree = self.copy()
        fake = self.folder / "bin"
        fake.mkdir()
        for name, code in (("dpkg-query", 1), ("apt-get", 100), ("sudo", 1)):
            (fake / name).write_text(f"#!/bin/sh\necho E: no route to the mirror\nexit {code}\n")
            (fake / name).chmod(0o755)
        done = run("./demo.sh", cwd=tree, env={"PATH": f"{fake}:{os.environ['PATH']}"}, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"(?m)^demo\.sh: .*(is there a network|sudo asks for a password).*apt-get install gcc")


if __name__ == "__main__":
    unittest.main(verbosity=2)
