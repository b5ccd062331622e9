"""uv: it compiles the lock, and runs a tool that is not in the lock."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mlops.base import environment
from mlops.base.errors import StoreError, without_passwords


def program(folder: Path) -> str:
    """The program uv: the installed one, or one that pip fetches into an environment below `folder`.

    Raises:
        StoreError: uv is not installed, and cannot be fetched.
    """
    if installed := shutil.which("uv"):
        return installed
    scripts = folder / "uv" / environment.SCRIPTS
    python, hint = str(scripts / "python"), "install uv (https://docs.astral.sh/uv), and run this again"
    run([sys.executable, "-m", "venv", str(folder / "uv")], hint)
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], hint)
    return str(scripts / "uv")


def run(command: list[str], hint: str) -> None:
    """Run a command.

    Raises:
        StoreError: it fails; the sentence has what it says, and ends with the hint.
    """
    done = call(command)
    if done.returncode:
        raise StoreError(f"{Path(command[0]).name} failed ({said(done.stderr or done.stdout)}): {hint}")


def call(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command whose exit code the caller looks at; pip's index is uv's, too."""
    index = {"UV_DEFAULT_INDEX": os.environ["PIP_INDEX_URL"]} if "PIP_INDEX_URL" in os.environ else {}
    return subprocess.run(
        command, env=index | os.environ, capture_output=True, encoding="utf-8", errors="replace", check=False
    )


def said(printed: str) -> str:
    """The end of what a program printed, in one line and without credentials."""
    line = " ".join(re.sub(r"[×╰─▶│]", " ", printed).split())
    return without_passwords(line)[-1000:] or "no reason given"
