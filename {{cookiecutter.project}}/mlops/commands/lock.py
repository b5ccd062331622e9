"""`lock`: compile requirements.txt from pyproject.toml, for every system and with hashes."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import environment, files, yaml
from mlops.base.errors import StoreError
from mlops.commands.options import DryRun
from mlops.history import paths

PROJECT = Path("pyproject.toml")
WRITTEN = ("--universal", "--generate-hashes", "--no-annotate", "--no-header", "--quiet")


def lock(
    extra: Annotated[list[str] | None, typer.Option(help="An extra of pyproject.toml to lock, too.")] = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Take the newest versions that fit.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Compile requirements.txt from pyproject.toml.

    Without `upgrade` a version stays as it is, unless pyproject.toml does not allow it any more. The compiler is uv; it
    is fetched by pip if it is not installed.

    Raises:
        StoreError: uv cannot be fetched, or finds no versions that fit; requirements.txt is as it was then.
    """
    from mlops.evaluation import changes

    before = yaml.text_of(paths.REQUIREMENTS)
    lowest = re.search(r'^requires-python\s*=\s*".*?>=\s*([\d.]+)', yaml.text_of(PROJECT), re.M)
    python = lowest[1] if lowest else ".".join(map(str, sys.version_info[:2]))
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder, paths.REQUIREMENTS.name)
        files.write_text(compiled, before)  # uv keeps the versions that it finds where it writes
        chosen = [*(f"--extra={name}" for name in extra or []), *(["--upgrade"] if upgrade else [])]
        command = [_uv(Path(folder)), "pip", "compile", *WRITTEN, *chosen, f"--python-version={python}", "--group=dev"]
        hint = f"{paths.REQUIREMENTS} is as it was; correct the dependencies in {PROJECT}"
        _run([*command, f"--output-file={compiled}", str(PROJECT)], hint)
        after = yaml.text_of(compiled)
    for found in changes.of_values(changes.packages(before), changes.packages(after)):
        typer.echo(f"{found['name']}: {found['before'] or 'new'} → {found['after'] or 'gone'}")
    if before == after:
        typer.echo(f"{paths.REQUIREMENTS} is what {PROJECT} asks for: nothing to do")
    elif not dry_run:
        files.write_text(paths.REQUIREMENTS, after)
        typer.echo(f"wrote {paths.REQUIREMENTS}; install it: {environment.install()}")


def _uv(folder: Path) -> str:
    """The program uv: the installed one, or one that pip fetches into an environment below `folder`."""
    if installed := shutil.which("uv"):
        return installed
    scripts = folder / "uv" / environment.SCRIPTS
    python, hint = str(scripts / "python"), "install uv (https://docs.astral.sh/uv), and run this again"
    _run([sys.executable, "-m", "venv", str(folder / "uv")], hint)
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], hint)
    return str(scripts / "uv")


def _run(command: list[str], hint: str) -> None:
    """Run a command; pip's index is uv's, too.

    Raises:
        StoreError: it fails; the sentence has what it says, and ends with the hint.
    """
    index = {"UV_DEFAULT_INDEX": os.environ["PIP_INDEX_URL"]} if "PIP_INDEX_URL" in os.environ else {}
    done = subprocess.run(
        command, env=index | os.environ, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        said = re.sub(r"//[^/\s@]*@", "//", " ".join(re.sub(r"[×╰─▶│]", " ", done.stderr or done.stdout).split()))
        raise StoreError(f"{Path(command[0]).name} failed ({said[-1000:] or 'no reason given'}): {hint}")
