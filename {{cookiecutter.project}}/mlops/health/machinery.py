"""Is `mlops/` what the template generated? An upgrade replaces it, and a local edit would be lost or in conflict."""

import hashlib
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mlops.base.errors import StoreError
from mlops.health.finding import Finding, named
from mlops.history import git, paths

SUBJECT = "machinery"
FOLDER = Path("mlops")
MANIFEST, VERSION = FOLDER / "MANIFEST", FOLDER / "VERSION"
MOST_NAMED = 10  # edited files that have a line each
MOST_COMMITS = 50  # in which the generated content of a file is looked for


def digest(content: bytes) -> str:
    """SHA-256 of a text with Unix line ends: a checkout may have others."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def check(now: datetime) -> Iterator[Finding]:
    """Compare each file of mlops/ with the manifest that the generation wrote."""
    version = VERSION.read_text(encoding="utf-8").strip() if VERSION.is_file() else "unknown"
    try:
        wanted = manifest()
    except OSError:
        said = f"{MANIFEST} is missing, so edits of version {version} cannot be told"
        yield Finding(SUBJECT, "unknown", said, "uvx cruft diff")
        return
    except ValueError as error:
        yield Finding(SUBJECT, "warning", f"{MANIFEST} is damaged: {error}", f"git checkout HEAD -- {MANIFEST}")
        return
    here = {path.relative_to(FOLDER).as_posix(): path for path in paths.files_of(FOLDER) if path != MANIFEST}
    edited = [name for name in wanted if name in here and digest(here[name].read_bytes()) != wanted[name]]
    missing = [name for name in wanted if name not in here]
    added = [name for name in here if name not in wanted]
    for name in missing:
        said = f"{FOLDER / name} is missing"
        yield Finding(SUBJECT, "fault", said, _original(name, wanted[name]), figures={"file": name})
    if len(edited) > MOST_NAMED:
        several = [(FOLDER / name).as_posix() for name in edited[MOST_NAMED:]]
        said = f"edited as well: {named(several)}"
        yield Finding(SUBJECT, "warning", said, "uvx cruft diff", figures={"files": edited[MOST_NAMED:]})
    for name in edited[:MOST_NAMED]:
        said = f"{FOLDER / name} was edited, and an upgrade would be in conflict there"
        yield Finding(SUBJECT, "warning", said, _original(name, wanted[name]), figures={"file": name})
    if added:
        said = f"not of the template: {named([(FOLDER / name).as_posix() for name in added])}"
        first = shlex.quote((FOLDER / added[0]).as_posix())
        known = git.run("ls-files", "--", (FOLDER / added[0]).as_posix(), default="").strip()
        moved = f"{'git mv' if known else 'mv'} {first} project/"
        yield Finding(SUBJECT, "warning", said, moved, figures={"added": added})
    if not (missing or edited or added):
        yield Finding(SUBJECT, "fine", f"version {version}, {len(wanted)} files as generated")


def manifest() -> dict[str, str]:
    """The SHA-256 of each generated file, by its path in mlops/.

    Raises:
        OSError: there is no manifest.
        ValueError: a line of it is none.
    """
    entries = [line.split("  ", 1) for line in MANIFEST.read_text(encoding="utf-8").splitlines()]
    if wrong := [number for number, entry in enumerate(entries, 1) if len(entry) != 2 or len(entry[0]) != 64]:
        raise ValueError(f"line {wrong[0]} is no digest with a name")
    return {name: found for found, name in entries}


def _original(name: str, wanted: str) -> str:
    """The command that brings back the generated file, from the newest commit that has it."""
    path = (FOLDER / name).as_posix()
    log = git.run("log", f"-{MOST_COMMITS}", "--format=%h", "--", path, default="").split()
    names = ["HEAD", *log, *(f"{commit}^" for commit in log)]
    try:
        for commit, content in zip(names, git.contents(f"{one}:./{path}" for one in names), strict=False):
            if content is not None and digest(content) == wanted:
                return f"git checkout {commit} -- {path}"
    except StoreError:
        pass
    return "uvx cruft diff"
