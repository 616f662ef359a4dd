"""What the end-to-end tests share: the built program, a folder of their own, and running commands."""
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SDVK_BUILD_DIR", ROOT / "build")).resolve()
SDVK = BUILD / "sdvk"
MODEL = ROOT / "samples/mockup"


def run(*command, cwd=None, timeout=600, env=None, **options):
    """The finished process; its outputs are text."""
    return subprocess.run([str(c) for c in command], cwd=cwd, timeout=timeout, capture_output=True, text=True,
                          env={**os.environ, **(env or {})}, **options)


class Case(unittest.TestCase):
    """Each test gets an empty folder whose name holds a blank."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="sdvk test ")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def ok(self, *command, **options):
        done = run(*command, **{"cwd": self.folder, **options})
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}\n{done.stderr}")
        return done

    def sdvk(self, *arguments, **options):
        return self.ok(SDVK, *arguments, **options)
