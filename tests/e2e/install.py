"""What `cmake --install` gives is complete: the program runs, and programs build against the library with pkg-config,
with CMake and as a shared library."""
import os
import re
import shlex
import shutil
import unittest

import program
from program import BUILD, MODEL, ROOT

CC = os.environ.get("CC", "cc")
CMAKE = os.environ.get("CMAKE", "cmake")
WANTED = ["bin/sdvk", "include/sd/sd.h", "include/sd/tools.h", "include/sd/base/status.h", "include/sd/base/log.h",
          "share/man/man1/sdvk.1", "share/man/man1/sdvk-server.1", "bin/sdvk-server",
          "share/bash-completion/completions/sdvk", "share/zsh/site-functions/_sdvk",
          "share/fish/vendor_completions.d/sdvk.fish", "share/doc/sdvk/LICENSE", "share/doc/sdvk/NOTICE",
          "share/sdvk/samples/mockup/model_index.json"]
PROJECT = """cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES C)
find_package(sdvk 0.1 REQUIRED)
add_executable(user {source})
target_link_libraries(user PRIVATE sdvk::sd)
"""


def sanitized():
    return re.search(r"^SDVK_SANITIZE:STRING=.", (BUILD / "CMakeCache.txt").read_text(), re.M)


@unittest.skipIf(sanitized(), "the plain build's job")
class Install(program.Case):
    def install(self, build):
        prefix = self.folder / "the prefix"
        self.ok(CMAKE, "--install", build, "--prefix", prefix)
        names = {str(p.relative_to(prefix)) for p in prefix.rglob("*")}
        self.assertEqual([w for w in WANTED if w not in names], [])
        self.assertEqual([n for n in names if n.startswith("include/") and n.endswith(".h") and n not in WANTED], [])
        [folder] = {p.parent for p in prefix.rglob("libsd.pc")}
        return prefix, folder

    def render(self, executable, env=None):
        picture = self.folder / f"{executable.name}.png"
        done = self.ok(executable, MODEL, "a red mug on a wooden table", picture, env=env)
        self.assertRegex(done.stdout, r"\A256x256 pixels in [\d.]+ s\n\Z")
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        return picture.read_bytes()

    def with_pkg_config(self, folder):
        flags = shlex.split(self.ok("pkg-config", "--cflags", "--libs", "libsd",
                                    env={"PKG_CONFIG_PATH": str(folder)}).stdout)
        executable = self.folder / "by_pkg_config"
        self.ok(CC, "-std=c11", "-Wall", "-Wextra", "-Werror", ROOT / "docs/example.c", "-o", executable, *flags)
        return executable

    def with_cmake(self, prefix):
        project = self.folder / "user project"
        project.mkdir()
        shutil.copy(ROOT / "docs/example.c", project)
        (project / "CMakeLists.txt").write_text(PROJECT.format(source="example.c"))
        self.ok(CMAKE, "-S", project, "-B", project / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}",
                f"-DCMAKE_C_COMPILER={CC}")
        self.ok(CMAKE, "--build", project / "build")
        return project / "build/user"

    def test_static_library(self):
        prefix, folder = self.install(BUILD)
        self.assertRegex(self.ok(prefix / "bin/sdvk", "--version").stdout, r"^sdvk \d")
        self.assertEqual(self.render(self.with_pkg_config(folder)), self.render(self.with_cmake(prefix)))

    def test_shared_library(self):
        build = self.folder / "shared"
        self.ok(CMAKE, "-S", ROOT, "-B", build, "-G", "Ninja", "-DBUILD_SHARED_LIBS=ON", "-DSDVK_TESTS=OFF",
                f"-DCMAKE_C_COMPILER={CC}")
        self.ok(CMAKE, "--build", build, timeout=1200)
        prefix, folder = self.install(build)
        [library] = [p for p in prefix.rglob("libsd.so.*") if not p.is_symlink()]
        exported = set(re.findall(r" T (\w+)", self.ok("nm", "-D", "--defined-only", library).stdout))
        declared = set()
        for header in (name for name in WANTED if name.endswith(".h")):
            declared |= set(re.findall(r"\b(sd_\w+)\(", (prefix / header).read_text()))
        self.assertEqual(exported, declared)
        executable = self.with_pkg_config(folder)
        paths = {"LD_LIBRARY_PATH": str(library.parent)}
        linked = self.ok("ldd", executable, env=paths).stdout
        self.assertIn("libsd.so", linked)
        self.render(executable, env=paths)


if __name__ == "__main__":
    unittest.main(verbosity=2)
