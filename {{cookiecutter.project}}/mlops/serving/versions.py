"""Versions on this machine: copied from the registry by the server's parent process, loaded by its workers.

A worker never asks the registry: what it has to answer with is in `served.json`, which is replaced as a whole.
"""

import hashlib
import importlib
import json
import pickle
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import files, model_files
from mlops.base.errors import StoreError
from mlops.history import paths, revisions
from mlops.intake import tables
from mlops.registry import packaging, registry

if TYPE_CHECKING:
    import pandas as pd

    from mlops.registry.registry import Client, Version
    from mlops.registry.scoring import RawModel
    from mlops.training.metrics import Predictions

SERVED, COPIES, CHECK = "served.json", "models", "check.parquet"
MODEL_FILES = ("model.pkl", "code")
RESULTS = (paths.PREDICTIONS, paths.EVALUATION)
CHECK_ROWS = 1000


@dataclass(frozen=True)
class Copy:
    """A version whose files are in `folder`; `package` and `digest` (SHA-256) are of its code and of its model."""

    number: str
    digest: str
    package: str
    folder: str


@dataclass(frozen=True)
class Served:
    """What workers answer with: the champion, and the version that a route has as its challenger.

    `candidate` is the number of the version with the alias `challenger`, which a new route would take. `store` is ""
    while the registry can be reached, else the sentence that says why not; `refused` says why a version that should be
    there is not, by its variant. `checked` is 0 until the present parent process has looked at the registry.
    """

    name: str
    champion: Copy | None = None
    challenger: Copy | None = None
    candidate: str = ""
    store: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    checked: int = 0


def write(folder: Path, served: Served) -> None:
    """Tell the workers what to answer with.

    Raises:
        StoreError: the file cannot be written.
    """
    files.write_text(folder / SERVED, json.dumps(asdict(served), indent=2))


def read(folder: Path) -> Served | None:
    """What to answer with; None before the first look at the registry."""
    try:
        found = json.loads((folder / SERVED).read_text(encoding="utf-8"))
        copies = {name: found[name] and Copy(**found[name]) for name in ("champion", "challenger")}
        return Served(**{**found, **copies})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def fetch(client: "Client", version: "Version", folder: Path) -> Copy:
    """Copy a version's files to this machine, unless they are here.

    Raises:
        StoreError: nobody has made the version again here or elsewhere, its model or its code is not the one that was
            registered, it cannot be had, or the disk is full.
    """
    digest, package = (version.tags.get(name, "") for name in (registry.MODEL_DIGEST, registry.PACKAGE))
    if not package:
        raise StoreError(
            f"version {version.number} was registered before versions said which code they bring along: register a "
            "new one"
        )
    if not (version.tags.get(registry.REMADE) or model_files.is_trusted(digest)):
        raise StoreError(
            f"version {version.number} was made elsewhere, and a model is code: `python -m mlops reproduce "
            f"{version.number}` makes it again, and `python -m mlops trust` says whose it is"
        )
    place = folder / COPIES / f"{digest[:16]}-{package[:16]}"
    copy = Copy(version.number, digest, package, str(place))
    if not is_whole(copy):
        shutil.rmtree(place, ignore_errors=True)
        _copy(client, version, digest, package, place)
    return copy


def is_whole(copy: Copy) -> bool:
    """Whether the files of a copy are here, and those that were registered."""
    try:
        _checked(Path(copy.folder), copy.number, copy.digest, copy.package)
    except StoreError:
        return False
    return all(Path(copy.folder, path.name).is_file() for path in RESULTS)


def load(copy: Copy) -> "RawModel":
    """The model of a copy.

    Raises:
        StoreError: its files are not those that were registered; of them nothing has run.
    """
    folder = Path(copy.folder)
    content, place = _checked(folder, copy.number, copy.digest, copy.package)
    if str(place.parent) not in sys.path:
        sys.path.append(str(place.parent))
    try:
        return importlib.import_module(place.name).load(content)  # type: ignore[no-any-return]
    except Exception as error:  # a model of other packages can raise anything
        raise StoreError(
            f"version {copy.number} cannot be loaded ({' '.join(str(error).split())[:300]}): see that this environment "
            "has the packages that it was registered with"
        ) from None


def check_rows(copy: Copy) -> "pd.DataFrame | None":
    """The first typed rows of the test split of a version; None if this clone does not have them."""
    import pandas as pd

    try:
        return pd.read_parquet(Path(copy.folder, CHECK))
    except Exception:  # a damaged one can raise anything, and another way to check is known
        return None


def test_predictions(copy: Copy) -> "Predictions":
    """The predictions of a version for its test rows, with the actual values.

    Raises:
        StoreError: the copy is damaged.
    """
    from mlops.evaluation import results

    table, report = (Path(copy.folder, path.name) for path in RESULTS)
    found = files.read_json(report)
    return results.from_frame(tables.read(table), found["labels"], found["positive"])


def keep_only(folder: Path, served: Served) -> None:
    """Delete the copies of versions that are no longer served."""
    kept = {Path(copy.folder).name for copy in (served.champion, served.challenger) if copy}
    for place in (folder / COPIES).glob("*"):
        if place.name not in kept:
            shutil.rmtree(place, ignore_errors=True)


def _copy(client: "Client", version: "Version", digest: str, package: str, place: Path) -> None:
    import pandas as pd

    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "whole").mkdir(parents=True)
        found = registry.model(version, part / "whole")
        for name in MODEL_FILES:
            shutil.move(found / name, part / name)
        for path in RESULTS:
            shutil.move(registry.artifact(client, version.run_id, path, part / "whole"), part / path.name)
        shutil.rmtree(part / "whole")
        _checked(part, version.number, digest, package)
        with suppress(StoreError):  # a server need not stand in a clone: engines are then compared on made-up rows
            test = revisions.of_result(version.tags).kept(paths.TEST)
            pd.read_parquet(test).head(CHECK_ROWS).to_parquet(part / CHECK)
        part.replace(place)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"version {version.number} could not be copied to {place}: {reason}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _checked(folder: Path, number: str, digest: str, package: str) -> tuple[bytes, Path]:
    """The bytes of the model's file and the folder of the code, if both are the registered ones."""
    try:
        content = _Bytes(BytesIO((folder / "model.pkl").read_bytes())).load()
        (place,) = (path for path in (folder / "code").iterdir() if path.name.startswith("code_"))
        found = hashlib.sha256(content).hexdigest(), packaging.digest(place)
    except Exception as error:  # a file that is no pickle can raise anything
        raise StoreError(f"the copy of version {number} in {folder} is not whole ({error}): delete it") from None
    if found != (digest, package):
        wrong = "model" if found[0] != digest else "code"
        raise StoreError(
            f"the {wrong} of version {number} is not the one that was registered, and nothing of it has run: somebody "
            "changed the store's files, or the copy here is damaged (delete it, and it is fetched again)"
        )
    return content, place


class _Bytes(pickle.Unpickler):
    """Reads the model's file out of the pickle of a `RawModel`, and runs nothing of it."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "load" and module.startswith("code_"):
            return lambda content: content
        raise pickle.UnpicklingError(f"it names {module}.{name}")
