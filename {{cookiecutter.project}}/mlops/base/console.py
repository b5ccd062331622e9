"""The command line: one sentence instead of a traceback, progress for people only, facts as JSON."""

import atexit
import errno
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import typer

from mlops.base.errors import MEMORY, ProjectError

T = TypeVar("T")
VERDICT = 3  # exit code of a command that worked and found something bad; 1 is an error, 2 wrong usage
# Where the project's owner writes Python.
OWN = Path(__file__).parents[2] / "project"
# The errors of a place that cannot be written to, and of a disk that is full.
UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


def run(command: Callable[..., None] | typer.Typer) -> None:
    """Run a command line; an error that a person can mend is printed as its sentence, and the exit code is 1.

    SIGINT and SIGTERM end it with 130 and 143, after what has begun is taken back.
    """
    # `nohup` and `&` in a script leave SIGINT ignored, and every child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # What is imported lives as long as the process. Python's garbage collector would visit all of it again and again,
    # and once more at exit, which takes an eighth of a stage's time.
    gc.set_threshold(100_000, 50, 100)
    atexit.register(gc.freeze)
    if not isinstance(command, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
        command = app
    try:
        command()
    except ProjectError as error:
        sys.exit(f"Error: {_blameless(error) or error}{_way_back()}")
    except SystemExit as ended:  # Typer says "Aborted." of any EOFError, which is the cause of its Abort
        if said := _blameless(ended.__context__):
            sys.exit(f"Error: {said}")
        raise
    except Exception as error:
        if said := fault(error):
            sys.exit(f"Error: {said}{_way_back()}")
        if isinstance(error, ImportError):
            from mlops.base import environment

            if said := environment.unusable(error):
                sys.exit(f"Error: {said}")
        if isinstance(error, OSError) and error.errno in UNUSABLE:
            sys.exit(
                f"Error: {error.filename or 'a file'} could not be used: {error.strerror}; free or unlock its place"
            )
        raise


def fault(error: Exception) -> str:
    """The sentence about an error that a person can mend although it is no ProjectError; "" if it is a bug."""
    if (said := _blameless(error)) or not (place := _own_line(error)):
        return said
    return (
        f"{place} fails with {type(error).__name__}: {' '.join(str(error).split()) or 'no message'}; correct it there"
    )


def _blameless(error: BaseException | None) -> str:
    """Why a command fails although its code and data are right; "" if neither the error nor a cause of it says so."""
    while error:
        if isinstance(error, MemoryError):
            return MEMORY
        if isinstance(error, FileNotFoundError) and "usable temporary directory" in str(error):
            return "there is no folder for temporary files that can be written: set TMPDIR to one"
        frames = list(traceback.walk_tb(error.__traceback__))
        if frames and frames[-1][0].f_code.co_name == "_compile_bytecode":  # of Python's import
            import sysconfig

            found = frames[-1][0].f_locals
            known = [place for place in (*sysconfig.get_paths().values(), str(OWN.parent)) if place]
            holders = [place for place in known if Path(found["source_path"]).is_relative_to(place)]
            return (
                f"{found['bytecode_path']} is broken, as compiled files are after a full disk: write all of them anew "
                f"with `{sys.executable} -m compileall -q -f {max(holders, key=len, default='.')}`"
            )
        error = error.__cause__ or error.__context__
    return ""


def _way_back() -> str:
    """A second line about a stage with earlier results: DVC has deleted them, and a commit would do so in Git."""
    stage, lock = os.environ.get("DVC_STAGE"), Path("dvc.lock")
    if not stage or not lock.is_file() or f"\n  {stage}:\n" not in lock.read_text(encoding="utf-8", errors="replace"):
        return ""
    return (
        f"\nDo not commit now, for the last results of {stage} are gone from the work tree: mend it and run again, or "
        "take those of the last commit back (`git checkout HEAD -- reports dvc.lock && dvc checkout`)."
    )


def _own_line(error: Exception) -> str:
    """The line of the project's own code where an error comes from; "" if it comes from elsewhere."""
    frames = [(frame.filename, frame.lineno, frame.line) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno, error.text))
    module = getattr(getattr(error, "obj", None), "__name__", "")  # of an AttributeError
    if str(module).startswith("project."):
        return f"{str(module).replace('.', '/')}.py"
    own = [frame for frame in frames if Path(frame[0]).is_relative_to(OWN)]
    if not own:
        return ""
    file, number, text = own[-1]
    return f"{Path(file).relative_to(OWN.parent).as_posix()} at line {number} ({(text or '').strip()})"


def progress(items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """Pass `items` on, drawing a bar on standard error if that is a terminal; a log gets nothing.

    Without a `total` it only moves.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=what, total=total, console=Console(stderr=True), transient=True)


def print_json(facts: Any) -> None:
    """Print plain values as JSON for another program."""
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))


def print_markdown(text: str) -> None:
    """Print Markdown: as it is to a file or a pipe, and without its signs to a terminal."""
    if not sys.stdout.isatty():
        typer.echo(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text, hyperlinks=False))
