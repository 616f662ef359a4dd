"""Every command in the README and the guides runs; every program in them compiles; every link leads somewhere."""
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import clients  # noqa: F401  programs in the documents use these libraries

import program
from program import BUILD, ROOT, run

DOCUMENTS = ["README.md", "docs/guide.md", "docs/service.md", "docs/development.md", "samples/README.md"]
# What builds the whole tree again is run by these tests instead.
ELSEWHERE = {"./demo.sh": "tests/e2e/demo.py", "./check.sh": ".ci/run"}


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)


def shortened(command):
    """Few steps are enough to see that a command works; the last option of a kind counts."""
    if command.startswith("sdvk generate ") and "--plan" not in command:
        return command + " --steps 2"
    return command


class Documents(program.Case):
    def prepare(self):
        for name in ("samples", "docs"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "build").symlink_to(BUILD)
        # Without blanks, which a shell would split in the output of pkg-config.
        prefix = tempfile.mkdtemp(prefix="sdvk")
        self.addCleanup(shutil.rmtree, prefix)
        return {"PATH": f"{BUILD}:{os.environ['PATH']}", "PREFIX": prefix,
                "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig:{prefix}/lib/x86_64-linux-gnu/pkgconfig"}

    def serve(self, env):
        """What "sdvk-server &" starts, on the port that the documents name, until the document's end."""
        server = subprocess.Popen([BUILD / "sdvk-server"], cwd=self.folder, env={**os.environ, **env},
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait, 60)
        self.addCleanup(server.terminate)
        for _ in range(600):
            if run("curl", "-sf", "http://127.0.0.1:7860/readyz").returncode == 0:
                return
            time.sleep(0.1)
        self.fail("sdvk-server did not become ready")

    def test_commands(self):
        commands = 0
        for document in DOCUMENTS:
            self.setUp()
            env = self.prepare()
            for block in blocks(document, "c"):
                (self.folder / "mug.c").write_text(block)
            lines = [line for block in blocks(document, "sh") for line in block.splitlines() if line.strip()]
            if any(line.startswith("sdvk-server &") for line in lines):
                self.serve(env)
                lines = [line for line in lines if not line.startswith("sdvk-server &")]
            for line in lines:
                with self.subTest(document=document, command=line):
                    commands += 1
                    if line.split()[0] in ELSEWHERE:
                        self.assertTrue((ROOT / ELSEWHERE[line.split()[0]]).is_file())
                        self.assertTrue(os.access(ROOT / line.split()[0], os.X_OK))
                        continue
                    done = run("bash", "-euc", shortened(line), cwd=self.folder, env=env)
                    self.assertEqual(done.returncode, 0, done.stderr)
            for block in blocks(document, "python"):
                with self.subTest(document=document, program=block):
                    self.ok(clients.PYTHON, "-c", block)
            if (self.folder / "mug").exists():
                self.ok("./mug", env=env)
                self.assertTrue((self.folder / "mug.png").is_file())
            self.doCleanups()
        self.assertGreater(commands, 15)

    def test_links(self):
        for document in DOCUMENTS:
            text = (ROOT / document).read_text()
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
                if "://" not in target:
                    with self.subTest(document=document, link=target):
                        self.assertTrue(((ROOT / document).parent / target).exists())

    def test_named_files_exist(self):
        """Paths in backquotes, unless they hold a placeholder in capitals."""
        for document in ("README.md", "docs/development.md"):
            for path in re.findall(r"`([\w./]+/[\w./]+\.[a-z]{1,4})`", (ROOT / document).read_text()):
                if not re.search(r"NAME|ROOM|[A-Z]{4}", path):
                    with self.subTest(document=document, path=path):
                        self.assertTrue((ROOT / path).exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
