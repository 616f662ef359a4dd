"""Every header compiles alone, twice, as C11; the public ones also as C++."""
import concurrent.futures
import os
import shutil
import subprocess

from files import ROOT, report, sources

PUBLIC = {"sd/sd.h", "sd/tools.h", "sd/base/status.h", "sd/base/log.h"}
ROOMS = ("sd", "shaders", "clip", "unet", "vae", "lora", "cli", "server", "tests")


def pkg_config():
    found = subprocess.run(["pkg-config", "--cflags", "vulkan", "libcjson", "libutf8proc", "cmocka"],
                           check=True, capture_output=True, text=True)
    return found.stdout.split()


def compile_alone(job):
    compiler, header, options = job
    done = subprocess.run([compiler, *options, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}", "-"],
                          input=f'#include "{header}"\n#include "{header}"\n', capture_output=True, text=True,
                          cwd=ROOT)
    return "" if done.returncode == 0 else f"{header} ({compiler}): {done.stderr.strip()}"


generated = os.environ["SDVK_BUILD_DIR"] + "/generated"
c_options = ["-x", "c", "-std=c11", "-D_POSIX_C_SOURCE=200809L", f"-I{generated}", *pkg_config()]
headers = sources(".h", under=ROOMS)
jobs = [(os.environ.get("CC", "cc"), h, c_options) for h in headers]
cxx = shutil.which("c++") or shutil.which("g++")
problems = [] if cxx else ["a C++ compiler is missing"]
if cxx:
    jobs += [(cxx, h, ["-x", "c++", f"-std={std}", "-Wpedantic"]) for h in sorted(PUBLIC)
             for std in ("c++11", "c++20")]
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    problems += [p for p in pool.map(compile_alone, jobs) if p]
problems += [f"{h}: missing" for h in sorted(PUBLIC) if not (ROOT / h).is_file()]
report(problems, len(headers), 40)
