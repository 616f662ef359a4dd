"""C files are as clang-format 14 writes them, and no source file holds more than 600 lines."""
import re
import shutil
import subprocess

from files import ROOT, read, report, sources

LONGEST = 600
ROOMS = ("sd", "shaders", "clip", "unet", "vae", "lora", "cli", "server", "tests", "docs", "cmake")


def clang_format():
    for name in ("clang-format-14", "clang-format"):
        if not shutil.which(name):
            continue
        version = subprocess.run([name, "--version"], capture_output=True, text=True).stdout
        if re.search(r"version 14\.", version):
            return name
    return None


files = sources(".c", ".h", under=ROOMS)
problems = []
tool = clang_format()
if tool:
    done = subprocess.run([tool, "--dry-run", "-Werror", *map(str, files)], cwd=ROOT, capture_output=True, text=True)
    wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", done.stderr, re.M)))
    problems += [f"{path}: not formatted; run clang-format -i" for path in wrong]
    if done.returncode and not wrong:
        problems.append(done.stderr.strip())
else:
    problems.append("clang-format 14 is missing")
for path in files + sources(".comp", ".glsl", under=ROOMS):
    lines = read(path).count("\n")
    if lines > LONGEST:
        problems.append(f"{path}: {lines} lines; split it, {LONGEST} is the limit")
report(problems, len(files), 100)
