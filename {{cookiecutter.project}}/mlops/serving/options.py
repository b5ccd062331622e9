"""What the command `serve` hands to its workers."""

from dataclasses import dataclass

VARIABLE = "MLOPS_SERVER"  # environment variable that has the options as JSON


@dataclass(frozen=True)
class Options:
    """The folder of the server, how many workers there are, and their parent process."""

    folder: str
    workers: int
    parent: int
