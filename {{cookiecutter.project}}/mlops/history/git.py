"""Git's command line."""

import subprocess

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
    reason = with_memory(next(iter(done.stderr.strip().splitlines()), ""), done.returncode)
    raise StoreError(f"git {arguments[0]} failed: {reason or f'exit code {done.returncode}'}")
