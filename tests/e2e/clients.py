"""Client libraries from PyPI: a test that imports this first runs in build/venv, where check.sh has installed
requirements.txt, whichever build it tests."""
import os
import pathlib
import sys

from program import ROOT

VENV = ROOT / "build/venv"
PYTHON = VENV / "bin/python"

if pathlib.Path(sys.prefix).resolve() != VENV.resolve():
    if not PYTHON.exists():
        sys.exit(f"{PYTHON} is missing; check.sh makes it, or: python3 -m venv build/venv && "
                 "build/venv/bin/pip install -r tests/e2e/requirements.txt")
    os.execv(PYTHON, [str(PYTHON), "-B", *sys.argv])
