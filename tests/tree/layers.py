"""A room includes only headers of itself and of the rooms above it in the architecture's table; only sd/vk knows
Vulkan; the programs know sd/sd.h and sd/tools.h and nothing else of the library."""
import re

from files import read, report, sources

# Longest folder first wins; "sd" is the library's top room: the files directly in sd/.
ALLOWED = {
    "sd/base": set(),
    "shaders": set(),
    "sd/vk": {"sd/base", "shaders"},
    "sd/io": {"sd/base"},
    "sd/sample": {"sd/base"},
    "sd/nn": {"sd/vk", "sd/base", "shaders"},
    "clip": {"sd/nn", "sd/io", "sd/base"},
    "unet": {"sd/nn", "sd/io", "sd/base"},
    "vae": {"sd/nn", "sd/io", "sd/base"},
    "lora": {"sd/nn", "sd/io", "sd/base"},
    "sd": {"lora", "vae", "unet", "clip", "sd/nn", "sd/sample", "sd/io", "sd/vk", "sd/base", "shaders"},
    "cli": set(),
    "server": set(),
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def room_of(path):
    text = str(path)
    for room in sorted(ALLOWED, key=len, reverse=True):
        if text.startswith(room + "/"):
            return room
    return None


def problem_of(path, kind, header):
    room = room_of(path)
    if kind == "<":
        if "vulkan" in header and room != "sd/vk":
            return "only sd/vk includes Vulkan's headers"
        return None
    if room in ("cli", "server"):
        if room_of(header) != room and header not in ("sd/sd.h", "sd/tools.h"):
            return f"{room} may include only sd/sd.h, sd/tools.h and its own headers"
        return None
    if "/" not in header:
        return "include from the repository's root"
    target = room_of(header)
    if target is None:
        return "not a header of a room"
    if target != room and target not in ALLOWED[room]:
        return f"{room} may not use {target}"
    return None


def self_test():
    refused = [("sd/base/x.c", '"', "sd/io/file.h"), ("sd/nn/x.c", "<", "vulkan/vulkan.h"),
               ("sd/nn/x.c", '"', "sd/io/file.h"), ("unet/x.c", '"', "sd/vk/buffer.h"),
               ("cli/x.c", '"', "sd/base/str.h"), ("vae/x.c", '"', "unet/unet.h"), ("clip/x.c", '"', "sd/sd.h")]
    accepted = [("sd/x.c", '"', "unet/unet.h"), ("sd/vk/x.c", "<", "vulkan/vulkan.h"), ("cli/x.c", '"', "cli/cli.h"),
                ("cli/x.c", '"', "sd/sd.h"), ("sd/nn/op/x.c", '"', "sd/nn/op.h"), ("sd/nn/x.c", "<", "math.h")]
    return [f"self-test: {case} should be refused" for case in refused if not problem_of(*case)] + \
        [f"self-test: {case} should be accepted" for case in accepted if problem_of(*case)]


problems = self_test()
files = sources(".c", ".h", ".comp", ".glsl", under=ALLOWED)
for path in files:
    for kind, header in INCLUDE.findall(read(path)):
        why = problem_of(path, kind, header)
        if why:
            problems.append(f"{path}: includes {header}: {why}")
report(problems, len(files), 100)
