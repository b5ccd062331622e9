"""The journal of a retraining: which steps are finished, so that a killed run goes on where it was."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops.base import files
from mlops.base.errors import StoreError

FOLDER = Path(".retrain")
STATE = FOLDER / "state.json"
NAMES = ("request", "base", "steps", "outcome", "notes")


@dataclass
class Journal:
    """What is asked for, the commit to start from, and the facts of each finished step, by name, in order.

    A step that changed the clone has the key `commit`. `outcome` is there once all is done. `notes` are what a step has
    to know of a step of the same name that was killed. A journal of a dry run has
    no `path`, and is never written.
    """

    request: dict[str, Any]
    base: str
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    path: Path | None = STATE

    @property
    def commit(self) -> str:
        """The commit of the last finished step that made one."""
        commits = [facts["commit"] for facts in self.steps.values() if "commit" in facts]
        return str(commits[-1] if commits else self.base)

    def finish(self, step: str, facts: dict[str, Any]) -> None:
        """Note that a step is finished.

        Raises:
            StoreError: the journal cannot be written.
        """
        self.steps[step] = facts
        self.write()

    def write(self) -> None:
        """Write the journal whole; in a dry run it is not written."""
        if self.path:
            files.write_json(self.path, {name: getattr(self, name) for name in NAMES})


def read(path: Path = STATE) -> Journal | None:
    """The journal of the last run; None if there is none, or none that can be read (then the run begins anew)."""
    try:
        content = files.read_json(path) if path.exists() else None
        return Journal(**{name: content[name] for name in NAMES}, path=path) if content else None
    except (StoreError, KeyError, TypeError):
        return None
