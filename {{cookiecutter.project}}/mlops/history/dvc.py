"""DVC's command line."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mlops.base.errors import StoreError, with_memory


def command(*arguments: str, python: str = sys.executable) -> list[str]:
    """The DVC command that runs with this Python, or with the `python` of another environment."""
    return [python, "-m", "dvc", *arguments]


def run(
    *arguments: str, hint: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, capture: bool = True
) -> str:
    """Run a DVC command and return what it prints; without `capture` DVC prints to the terminal.

    Raises:
        StoreError: the command fails, or DVC cannot work in this folder; the sentence ends with the `hint`.
    """
    here = (cwd or Path()).resolve()
    if {"{", "}"} & set(str(here)):  # it formats paths, and ends with the KeyError of whatever is between the braces
        raise StoreError(f"DVC cannot work below a folder with a brace in its name ({here}): rename or move it")
    done = subprocess.run(
        command(*arguments), cwd=cwd, env=env, capture_output=capture, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        said = " ".join((done.stderr or "").removeprefix("ERROR: ").split())[:300]
        reason = f" ({found})" if (found := with_memory(said, done.returncode)) else ""
        raise StoreError(f"`dvc {arguments[0]}` failed{reason}: {hint}")
    return done.stdout or ""
