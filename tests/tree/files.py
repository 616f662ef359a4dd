"""The repository's own files, with or without git."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sources(*suffixes, under=("",)):
    """Paths relative to the root, sorted; build folders, pictures made by users and caches are left out."""
    found = []
    for start in under:
        for folder, folders, names in os.walk(ROOT / start):
            here = pathlib.Path(folder).relative_to(ROOT)
            folders[:] = [f for f in folders if not is_foreign(here / f)]
            found += [here / n for n in names if n.endswith(suffixes)]
    return sorted(set(found))


def is_foreign(folder):
    name = folder.name
    if name.startswith(".") and name != ".ci":
        return True
    return name == "__pycache__" or (len(folder.parts) == 1 and (name.startswith("build") or name == "out"))


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def report(problems, checked, least):
    """Ends the test: prints the problems, or how much was checked; nothing to check is a failure too."""
    for problem in problems:
        print(problem)
    if checked < least:
        print(f"expected to check at least {least} files, found {checked}")
        problems = problems or ["too few files"]
    print(f"{checked} checked, {len(problems)} problems")
    raise SystemExit(1 if problems else 0)
