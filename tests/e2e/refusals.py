"""Tables of what the program refuses: exit code 2, one exact sentence, nothing on stdout, no file left behind."""
import ctypes
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import program
from program import ROOT, SDVK

TINY = ROOT / "tests/golden/networks/sd1"


class Table:
    """Rows of (arguments, message); {tmp} in both is the folder with the broken files."""

    def __init__(self, folder):
        self.folder, self.rows = folder, []

    def row(self, arguments, message):
        self.rows.append((arguments, message))

    def generate(self, arguments, message):
        """A wrong option beside a model that is in order."""
        self.row(["generate", "a", "-m", TINY, *arguments], message)

    def file(self, name, data):
        path = self.folder / name
        assert not path.exists(), f"{name} belongs to another row"
        path.write_bytes(data)
        return path


def obey_permissions():
    """Root reads everything; without these two capabilities it is refused like anyone else."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="sdvk test ")
        cls.addClassCleanup(temporary.cleanup)
        cls.cwd = pathlib.Path(temporary.name) / "empty"
        cls.cwd.mkdir()
        cls.device = json.loads(program.run(SDVK, "devices", "--json").stdout)[0]["name"]

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="sdvk test ")
        self.addCleanup(temporary.cleanup)
        self.tmp = pathlib.Path(temporary.name)

    def run_row(self, arguments):
        """Exit code, stderr with names for what differs between machines, and stdout."""
        arguments = [os.fsencode(a.replace("{tmp}", str(self.tmp)) if isinstance(a, str) else a) for a in arguments]
        done = subprocess.run([os.fsencode(SDVK), *arguments], capture_output=True, cwd=self.cwd, timeout=120,
                              preexec_fn=obey_permissions)
        shown = done.stderr.decode()
        for path, name in ((str(self.tmp), "{tmp}"), (str(ROOT), "{root}"), (self.device, "{device}")):
            shown = shown.replace(path, name)
        return done.returncode, shown, done.stdout

    def check(self, table):
        for arguments, message in table.rows:
            with self.subTest(arguments=arguments):
                self.assertEqual(self.run_row(arguments), (2, f"sdvk: {message}\n", b""))
            with self.subTest(left_by=arguments):
                self.assertEqual(list(self.cwd.iterdir()), [])
