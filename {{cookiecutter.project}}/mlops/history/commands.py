"""Commands of a project, run to their end: what they printed, and why they failed."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops.history import clones, experiments


@dataclass(frozen=True)
class Done:
    """What became of a command: its exit code and what it printed, on standard output and on standard error."""

    code: int
    output: str
    errors: str = ""

    @property
    def reason(self) -> str:
        """Why it failed, in the command's own sentence."""
        return experiments.reason(f"{self.output}\n{self.errors}")


def call(project: Path, *command: str, env: Mapping[str, str] | None = None) -> Done:
    """Run `python -m …` in a project until it ends; it is ended with this process, if that is interrupted."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=project,
            env=clones.environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:
            clones.end(process)
            raise
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(encoding="utf-8", errors="replace"))
    return Done(code, *texts)
