"""gcc -fanalyzer has nothing to say about the library and the programs. Leaks are left to LeakSanitizer and the tests in
which every allocation fails in turn: version 12 takes what a caller owns for lost."""
import concurrent.futures
import os
import re
import subprocess

from files import ROOT, report, sources

ROOMS = ("sd", "clip", "unet", "vae", "lora", "cli", "server")
HERE = "tests/tree/analyzer.h"
# Where it is wrong: these copy the bytes of a number that the line above sets, or of a block that loops fill in parts.
FILLED = ("sd/base/quant_legacy.c", "sd/base/values.c", "sd/convert_values.c", "sd/io/gguf_value.c",
          "sd/io/pickle_machine.c")
PLANTED = "#include <stdlib.h>\nint f(void);\nint f(void) { int *p = malloc(4); int x = *p; free(p); return x; }\n"


def analyze(path, text=None):
    """The warnings, each a line."""
    done = subprocess.run([os.environ.get("CC", "cc"), *OPTIONS, "-c", "-o", os.devnull, "-x", "c", str(path)], cwd=ROOT,
                          input=text, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    found = re.findall(r"^.*(?:warning|error): .*$", done.stderr, re.M)
    if done.returncode and not found:
        found = [f"{path}: {done.stderr.strip()}"]
    return sorted({line for line in found if str(path) not in FILLED or "use-of-uninitialized-value" not in line})


generated = os.environ["SDVK_BUILD_DIR"] + "/generated"
packages = subprocess.run(["pkg-config", "--cflags", "vulkan", "libcjson", "libutf8proc"], check=True,
                          capture_output=True, text=True).stdout.split()
OPTIONS = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-I.", f"-I{generated}", *packages, "-include", HERE, "-fanalyzer",
           "-Wno-analyzer-malloc-leak", "-Wno-analyzer-too-complex"]
files = [path for path in sources(".c", under=ROOMS) if str(path) != "sd/base/status.c"]
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    problems = [line for found in pool.map(analyze, files) for line in found]
if not any("possible-null-dereference" in line for line in analyze("-", PLANTED)):
    problems.append("a planted error was not found")
report(problems, len(files), 200)
