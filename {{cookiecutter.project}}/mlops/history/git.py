"""Git, asked on its command line."""

import subprocess

from mlops.base.errors import StoreError


def answer(*arguments: str, missing: str | None = None, given: str | None = None) -> str:
    """What Git answers to what it is `given`; `missing` if it fails.

    Raises:
        StoreError: there is no Git; or it fails, and nothing stands for that.
    """
    command = ["git", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", input=given, check=False
        )
    except OSError as error:
        raise StoreError(f"git could not be run ({error}): install it, or put it on the PATH") from None
    if done.returncode and missing is None:
        why = next(iter(done.stderr.strip().splitlines()), "no reason given")
        raise StoreError(f"git {arguments[0]} failed: {why}")
    return done.stdout if not done.returncode else str(missing)
