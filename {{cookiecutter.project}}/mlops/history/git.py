"""Git's command line."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, cast

from mlops.base.errors import StoreError, with_memory


def run(*arguments: str, default: str | None = None, stdin: str | None = None) -> str:
    """Run a Git command and return what it prints; where it fails, return the `default` if there is one.

    A name that comes from outside stands behind `--end-of-options`, or is known to be a commit: Git would take a name
    such as `--output=…` for an option.

    Raises:
        StoreError: Git is not installed, or the command fails and there is no default.
    """
    command = ["git", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", input=stdin, check=False
        )
    except OSError as error:
        raise StoreError(f"git could not be run ({error}): install it, or put it on the PATH") from None
    if not done.returncode:
        return done.stdout
    if default is not None:
        return default
    lines = [line.strip() for line in done.stderr.strip().splitlines()] or [""]
    reason = with_memory(" ".join(lines[: 2 if lines[0].endswith(":") else 1]), done.returncode)  # a list: its first
    asked = arguments
    while asked[0] in {"-c", "-C"}:  # its options come before the command, each with a value
        asked = asked[2:]
    raise StoreError(f"git {asked[0]} failed: {reason or f'exit code {done.returncode}'}")


def contents(names: Iterable[str]) -> Iterator[bytes | None]:
    """The content of each named object, such as `COMMIT:./FILE`, read one by one by a single process; None without it.

    Raises:
        StoreError: Git is not installed, or an object is damaged.
    """
    command = ["git", "cat-file", "--batch"]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing)
    except OSError as error:
        raise StoreError(f"git could not be run ({error}): install it, or put it on the PATH") from None
    with process:
        asked, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        for name in names:
            with suppress(BrokenPipeError):  # then there is no answer, either
                asked.write(name.encode() + b"\n")
                asked.flush()
            header = answers.readline()
            if not header:
                with suppress(BrokenPipeError):
                    asked.close()
                raise StoreError(f"git cat-file failed at {name}: `git fsck` says what is damaged")
            size = header.rsplit(b" ", 1)[-1].strip()
            if not size.isdigit():
                yield None
                continue
            content = answers.read(int(size) + 1)[:-1]  # a line end follows
            yield content
