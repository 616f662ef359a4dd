"""Texts name no machine's folders and no hosts but those that a reader can use, end in a newline, and hold no
conflict marks, carriage returns or trailing blanks."""
import re

from files import ROOT, report, sources

SUFFIXES = (".c", ".h", ".comp", ".glsl", ".py", ".sh", ".md", ".txt", ".cmake", ".in", ".1", ".bash", ".zsh", ".fish",
            "/run", "LICENSE", "NOTICE", ".gitignore", ".clang-format", ".supp")
# Vendored vocabularies and files written by other programs keep the bytes they came with.
KEPT = ("clip/vocab/", "samples/mockup/tokenizer/", "tests/golden/", "tests/fuzz/corpus/")
HOSTS = {"github.com", "arxiv.org", "huggingface.co", "www.w3.org", "docs.vulkan.org", "registry.khronos.org",
         "creativecommons.org", "localhost", "127.0.0.1", "example.com",
         # XMP and IPTC name spaces, which are identifiers
         "ns.adobe.com", "iptc.org", "cv.iptc.org"}
RESERVED = (".test", ".example", ".invalid")  # names that nobody can own (RFC 2606)
URL = re.compile(r"https?://([A-Za-z0-9.-]+)")
FOLDERS = re.compile(r"(?<![\w.$})/-])/(?:work|root|home|Users|mnt|srv)/[\w.]")
INDEX = re.compile(r"--(?:extra-)?index-ur[l]|PIP_INDEX_UR[L]|--trusted-hos[t]")


def problems_of(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}:{number}"
        for host in URL.findall(line):
            name = host.rstrip(".").lower()
            if name not in HOSTS and not name.endswith(RESERVED):
                yield f"{where}: names the host {host}"
        if FOLDERS.search(line):
            yield f"{where}: names a folder of one machine"
        if INDEX.search(line):
            yield f"{where}: names a package index"
        if re.match(r"(<{7}|={7}|>{7})( |$)", line):
            yield f"{where}: conflict mark"
        if "\r" in line:
            yield f"{where}: carriage return"
        elif line != line.rstrip():
            yield f"{where}: blanks at the end of the line"
    if text and not text.endswith("\n"):
        yield f"{path}: no newline at the end"


def self_test():
    # Put together from pieces so that this file passes its own rules.
    bad = ["see https:/" + "/mirror.example.net/simple", "cd /wo" + "rk/main", "pip --index" + "-url x", "a ", "a\r",
           "<" * 7 + " HEAD"]
    return [f"self-test: {text!r} should be refused" for text in bad if not list(problems_of("x", text + "\n"))]


problems = self_test()
files = [p for p in sources(*SUFFIXES) if not str(p).startswith(KEPT)]
for path in files:
    try:
        problems += problems_of(path, (ROOT / path).read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        problems.append(f"{path}: not UTF-8")
report(problems, len(files), 150)
