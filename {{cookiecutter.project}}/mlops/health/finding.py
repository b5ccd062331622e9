"""What a check found, and what mends it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# `unknown`: it could not be looked at, which is no fault.
State = Literal["fine", "unknown", "warning", "fault"]

EDIT = '"${EDITOR:-vi}"'  # what opens a file that only a person can mend


@dataclass(frozen=True)
class Repair:
    """A repair that loses nothing; `what` follows "would" and `done` says it in the past.

    `do` looks again whether the fault is still there, and raises a ProjectError if the repair is not safe any more.
    """

    what: str
    done: str
    do: Callable[[], None]


@dataclass(frozen=True)
class Finding:
    """One fact about `subject`, the `command` that mends it ("" if nothing has to be), and a safe repair if there is.

    `figures` are the numbers behind the sentence, for programs.
    """

    subject: str
    state: State
    sentence: str
    command: str = ""
    repair: Repair | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        facts = {"subject": self.subject, "state": self.state, "sentence": self.sentence, "command": self.command}
        return {**facts, "repair": self.repair.what if self.repair else "", "figures": dict(self.figures)}


def named(names: list[str], most: int = 5) -> str:
    """Some names as a list in a sentence; what is left out is counted."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
