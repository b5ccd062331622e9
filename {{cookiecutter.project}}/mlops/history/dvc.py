"""DVC's command line."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mlops.base.errors import StoreError


def command(*arguments: str, python: str = sys.executable) -> list[str]:
    """The DVC command that runs with this Python, or with the `python` of another environment."""
    return [python, "-m", "dvc", *arguments]


def run(
    *arguments: str, hint: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, capture: bool = True
) -> str:
    """Run a DVC command and return what it prints; without `capture` DVC prints to the terminal.

    Raises:
        StoreError: the command fails; the sentence ends with the `hint`.
    """
    done = subprocess.run(
        command(*arguments), cwd=cwd, env=env, capture_output=capture, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        reason = f" ({' '.join(done.stderr.removeprefix('ERROR: ').split())[:300]})" if done.stderr else ""
        raise StoreError(f"`dvc {arguments[0]}` failed{reason}: {hint}")
    return done.stdout or ""
