"""The image of a package, built and pushed by the container engine of this machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.base.errors import StoreError

ENGINES = ("buildah", "podman", "docker")
TARGET = "baked"  # the stage of the Dockerfile that has a model in it


@dataclass(frozen=True)
class Image:
    """An image: its id (with the digest of its configuration), its tag, and the engine that has it."""

    id: str
    tag: str
    engine: str


def build(context: Path, tag: str, time: int, options: Sequence[str] = ()) -> Image:
    """Build the image of the package in the folder `context`; `options` are the engine's own.

    `time` (Unix seconds) stands in the image for the present one.

    Raises:
        StoreError: there is no engine, or the build fails.
    """
    engine = next((name for name in ENGINES if shutil.which(name)), "")
    if not engine:
        raise StoreError(f"an image needs a container engine: install one of {', '.join(ENGINES)}")
    # The form of OCI has no HEALTHCHECK.
    own = [] if engine == "docker" else ["--format", "docker", "--timestamp", str(time)]
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder, "id")
        arguments = ["build", "--target", TARGET, "--tag", tag, "--iidfile", str(named), *own, *options, str(context)]
        _run([engine, *arguments], "build the image", SOURCE_DATE_EPOCH=str(time))
        return Image(named.read_text(encoding="utf-8").strip(), tag, engine)


def push(image: Image) -> None:
    """Push the image to the registry that its tag names; the engine knows the account (`docker login`).

    Raises:
        StoreError: the engine cannot push it, such as without a login.
    """
    _run([image.engine, "push", image.tag], f"push {image.tag}")


def _run(command: Sequence[str], what: str, **variables: str) -> None:
    done = subprocess.run(
        command,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or ["it says nothing"]
        raise StoreError(f"{command[0]} could not {what}: {' '.join(lines[-3:])[-500:]}")
