"""The errors that a person can mend.

Each carries one sentence: what was found where, what was expected, what to do. The command line prints that
sentence and exits with code 1; any other exception is a bug and keeps its traceback.
"""

import difflib
import re
from collections.abc import Collection

MEMORY = "there is not enough memory: end other programs, give it fewer rows or columns, or use a larger machine"
# What DVC and shells say of a process that got the signal KILL.
KILLED = re.compile(r"\b(?:exited with|exit code:?|exit status) (?:-9|137)\b")


class ProjectError(Exception):
    """Something outside the program has to change: the data, the schema, a parameter, the environment."""


class DataError(ProjectError):
    """The data is not what `schema.yaml` or a stage expects."""


class SchemaError(ProjectError):
    """`schema.yaml` contradicts itself, or cannot be used for what was asked."""


class ParameterError(ProjectError):
    """A value in `params.yaml` is unknown, misspelt or out of range."""


class StoreError(ProjectError):
    """A file, the tracking server or another store could not be read or written."""


def with_memory(said: str, code: int = 0) -> str:
    """What a failed command said, with the likely reason if the kernel killed it (by its exit code) or its child."""
    if code == -9 or KILLED.search(said):
        return f"{said}; it was killed, as the kernel does when {MEMORY}".removeprefix("; ")
    return said


def counted(number: int, what: str, several: str = "") -> str:
    """A number of things: 1 row, 2 rows; `what` takes an s, unless the word for `several` is another one."""
    return f"{number} {what if number == 1 else several or f'{what}s'}"


def without_passwords(text: str) -> str:
    """A text whose addresses have no password, even one with an @, and no name but that of SSH, which needs it."""
    text = re.sub(r"(ssh://[^/\s:@]*):[^/\s]*@", r"\1@", text)
    return re.sub(r"(?<!ssh:)//[^/\s]*@", "//", text)


def nearest(name: str, known: Collection[str]) -> str:
    """A hint for a name that is unknown: the most similar known name, or all known names."""
    similar = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {similar[0]}?" if similar else f"known are {', '.join(known)}"
