"""`package`: write a version as a folder or an archive that can be kept, checked and served anywhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console
from mlops.base.errors import ParameterError
from mlops.commands.options import AsJson


def package(
    version: Annotated[str, typer.Argument(help="Number of a version; by default that of the last commit.")] = "",
    to: Annotated[Path, typer.Option(help="Folder, or archive if it ends with .tar.gz.")] = Path("package"),
    image: Annotated[str, typer.Option(help="Also build its image with this tag.")] = "",
    build_option: Annotated[list[str] | None, typer.Option(help="An option for the container engine.")] = None,
    push: Annotated[bool, typer.Option("--push", help="Also push the image to the registry in its tag.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a version with code, lock, card and bill of materials.

    The same version gives the same bytes. MANIFEST has the SHA-256 of each file (`sha256sum --check MANIFEST`). The
    folder is also what an image is built of, with the model in it, by the buildah, podman or docker that is here.

    Raises:
        ParameterError: there is no image to push.
        StoreError: there is no such version, a part of it cannot be had, or the image cannot be built or pushed.
    """
    if push and not image:
        raise ParameterError("--push needs the tag of an image: add --image REGISTRY/NAME:TAG")
    from mlops.rollout import image as images
    from mlops.rollout import package as packages

    found = packages.find(version)
    made = packages.write(found, to)
    facts: dict[str, Any] = {"version": made.version, "place": str(made.place), "manifest": made.digest}
    facts |= {"files": made.files, "image": None}
    if image:
        with packages.unpacked(made.place) as context:
            built = images.build(context, image, packages.time_of(found), build_option or [])
        if push:
            images.push(built)
        facts["image"] = asdict(built)
    if as_json:
        console.print_json(facts)
        return
    typer.echo(f"version {made.version} is in {made.place} ({made.files} files, MANIFEST {made.digest[:12]}…)")
    if facts["image"]:
        where = f"{facts['image']['engine']} as {image}{', and pushed' if push else ''}"
        typer.echo(f"its image is {facts['image']['id']}, in {where}")
