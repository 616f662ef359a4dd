"""The command line of sdvk-server."""
import re
import unittest

import program
from program import ROOT, run
from service import SERVER


class ServerCli(program.Case):
    def test_manual_names_every_option(self):
        manual = (ROOT / "docs/sdvk-server.1").read_text()
        shown = self.ok(SERVER, "--help").stdout
        self.assertEqual(set(re.findall(r"^ +--([a-z0-9-]+)", shown, re.M)),
                         set(re.findall(r"(?<!\w)--([a-z0-9-]+)", manual.replace("\\-", "-"))))
        version = self.ok(SERVER, "--version").stdout
        self.assertRegex(version, r"\Asdvk-server \d+\.\d+\.\d+\n\Z")
        self.assertIn(f'"sdvk {version.split()[1]}"', manual)
        rendered = self.ok("man", "--warnings", "-l", ROOT / "docs/sdvk-server.1", env={"MANWIDTH": "80"})
        self.assertEqual(rendered.stderr, "")

    def test_refusals(self):
        for arguments, code, message in (
                (["--lisen", "x"], 2, "unknown option '--lisen'; did you mean '--listen'?"),
                (["x"], 2, "unknown option 'x'; --help lists the options"),
                (["--listen"], 2, "--listen: a value is missing"),
                (["--listen="], 2, "--listen: expected ADDRESS, found ''"),
                (["--quiet=1"], 2, "--quiet takes no value"),
                (["--max-steps", "0"], 2, "--max-steps: expected 1 to 1000, found '0'"),
                (["--max-steps", "ten"], 2, "--max-steps: expected 1 to 1000, found 'ten'"),
                (["--max-steps=-1"], 2, "--max-steps: expected 1 to 1000, found '-1'"),
                (["--precision", "f8"], 2, "--precision: expected auto, f32 or f16, found 'f8'"),
                (["--new-key", "a b"], 2, "--new-key: expected a name of 1 to 63 bytes without blanks"),
                (["--models", "none"], 1, "none: cannot open the model folder: No such file or directory"),
                (["--listen", "127.0.0.1:99999"], 1,
                 "--listen 127.0.0.1:99999: expected a port from 0 to 65535, found '99999'"),
                (["--listen", "localhost"], 1, "--listen localhost: expected a port from 0 to 65535, found 'localhost'"),
                (["--listen", "192.0.2.1:0", "--insecure"], 1,
                 "--listen 192.0.2.1:0: Cannot assign requested address")):
            with self.subTest(arguments):
                done = run(SERVER, *arguments, cwd=self.folder)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (code, "", f"sdvk-server: {message}\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
