"""Functions of `project/`: where each stands, and one sentence when one fails."""

import traceback
from collections.abc import Callable

from mlops.base.errors import ProjectError


class OwnCodeError(ProjectError):
    """A function of `project/` fails, or does not keep its contract."""


def place(function: Callable[..., object]) -> str:
    """Where a function of the project is, for a person: `project/features.py: derive (line 12)`."""
    code = getattr(function, "__code__", None)
    file = getattr(function, "__module__", "").replace(".", "/")
    name = getattr(function, "__name__", str(function))
    return f"{file}.py: {name}" + (f" (line {code.co_firstlineno})" if code else "")


def failure(function: Callable[..., object], error: Exception) -> str:
    """One sentence for an exception that a function of the project raised, with the function's own line."""
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    at = f"line {own[-1].lineno} ({own[-1].line})" if own else "no line of its own"
    said = " ".join(str(error).split()) or "no message"
    return f"{place(function)} fails at {at} with {type(error).__name__}: {said}; correct it there"
