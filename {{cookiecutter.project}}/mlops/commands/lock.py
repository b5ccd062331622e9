"""`lock`: compile requirements.txt from pyproject.toml, for every system and with hashes."""

import re
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import environment, files, uv, yaml
from mlops.commands.options import DryRun
from mlops.history import paths

PROJECT = Path("pyproject.toml")
WRITTEN = ("--universal", "--generate-hashes", "--no-annotate", "--no-header", "--quiet")


def lock(
    extra: Annotated[list[str] | None, typer.Option(help="An extra to lock, too: explain, redis, cluster.")] = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Take the newest versions that fit.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Compile requirements.txt from pyproject.toml.

    Without `--upgrade` a version stays as it is, unless pyproject.toml does not allow it any more. The compiler is uv;
    it is fetched by pip if it is not installed.

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
        command = [
            uv.program(Path(folder)),
            "pip",
            "compile",
            *WRITTEN,
            *chosen,
            f"--python-version={python}",
            "--group=dev",
        ]
        hint = f"{paths.REQUIREMENTS} is as it was; correct the dependencies in {PROJECT}"
        uv.run([*command, f"--output-file={compiled}", str(PROJECT)], hint)
        after = yaml.text_of(compiled)
    for found in changes.of_values(changes.packages(before), changes.packages(after)):
        typer.echo(f"{found['name']}: {found['before'] or 'new'} → {found['after'] or 'gone'}")
    if before == after:
        typer.echo(f"{paths.REQUIREMENTS} is what {PROJECT} asks for: nothing to do")
    elif not dry_run:
        files.write_text(paths.REQUIREMENTS, after)
        typer.echo(f"wrote {paths.REQUIREMENTS}; install it: {environment.install()}")
