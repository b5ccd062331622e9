"""Git's command line."""

import subprocess

from mlops.base.errors import StoreError


def run(*arguments: str, default: str | None = None, stdin: str | None = None) -> str:
    """Run a Git command and return what it prints; where it fails, return the `default` if there is one.

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
    reason = next(iter(done.stderr.strip().splitlines()), "no reason given")
    raise StoreError(f"git {arguments[0]} failed: {reason}")
