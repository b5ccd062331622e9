"""DVC's command line, and the files that DVC may be killed in the middle of."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mlops.base import yaml
from mlops.base.errors import StoreError, with_memory
from mlops.history import paths

# DVC writes these files in place, and cannot read one that was cut off.
CUT_OFF = re.compile(r"(\.lock|\.dvc|rwlock)'.*(is corrupted|validation failed)|unexpected error - 'path'")
REPAIR = "`python -m mlops resolve` brings back the last good one"
RUNNING = Path(".dvc/tmp/rwlock")  # who reads and writes what at the moment


def command(*arguments: str, python: str = sys.executable) -> list[str]:
    """The DVC command that runs with this Python, or with the `python` of another environment."""
    return [python, "-m", "dvc", *arguments]


def run(
    *arguments: str, hint: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, capture: bool = True
) -> str:
    """Run a DVC command and return what it prints; without `capture` DVC prints to the terminal.

    Raises:
        StoreError: the command fails, or DVC cannot work in this folder; the sentence ends with the `hint`, or with the
            repair of a file that is cut off.
    """
    here = (cwd or Path()).resolve()
    if {"{", "}"} & set(str(here)):  # it formats paths, and ends with the KeyError of whatever is between the braces
        raise StoreError(f"DVC cannot work below a folder with a brace in its name ({here}): rename or move it")
    done = subprocess.run(
        command(*arguments), cwd=cwd, env=env, capture_output=capture, encoding="utf-8", errors="replace", check=False
    )
    if not done.returncode:
        return done.stdout or ""
    said = " ".join((done.stderr or "").removeprefix("ERROR: ").split())
    cut_off = CUT_OFF.search(said)
    if cut_off and cut_off[1] == RUNNING.name and Path(cwd or "", RUNNING).is_file():
        Path(cwd or "", RUNNING).unlink()  # nothing runs, or DVC would have waited and read it whole
        return run(*arguments, hint=hint, cwd=cwd, env=env, capture=capture)
    reason = f" ({found})" if (found := with_memory(said[:300], done.returncode)) else ""
    raise StoreError(f"`dvc {arguments[0]}` failed{reason}: {REPAIR if cut_off else hint}")


def is_whole(path: Path, text: str) -> bool:
    """Whether DVC can read this text of a dvc.lock, a .dvc file or RUNNING; it cannot where the text ends too early."""
    from dvc import rwlock, schema
    from voluptuous import Invalid

    known = {paths.LOCK: (schema.COMPILED_LOCKFILE_SCHEMA, "schema"), RUNNING: (rwlock.SCHEMA, "read")}
    valid, key = known.get(path, (schema.COMPILED_SINGLE_STAGE_SCHEMA, "outs"))
    try:
        content = valid(yaml.parsed(text, str(path)))
        return key in content and all("path" in out for out in content.get("outs") or ())
    except (StoreError, Invalid):
        return False
