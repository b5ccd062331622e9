"""Which processes are at work in the project: what one of them holds is no leftover."""

import os
from pathlib import Path


def is_running(process: int) -> bool:
    """Whether there is a process with this number; one that cannot be known counts as running."""
    import psutil

    try:
        return bool(psutil.pid_exists(process))
    except (psutil.Error, OverflowError, ValueError):
        return True


def at_work(folder: Path, *words: str) -> list[int]:
    """The processes that stand in `folder` and have all `words` in their command, but this one and what it started."""
    import psutil

    here, found = folder.resolve(), []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        command = process.info["cmdline"] or []
        if os.getpid() in (process.pid, process.info["ppid"]):
            continue
        if all(any(word in Path(part).name for part in command) for word in words):
            try:
                if Path(process.cwd()).is_relative_to(here):
                    found.append(process.pid)
            except (psutil.Error, OSError):
                found.append(process.pid)  # of somebody else, perhaps here
    return found
