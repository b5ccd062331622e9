"""Model files. Such a file is code: it is opened only if this account made it, or has decided to trust it.

The digests of these models are kept outside the project, where no commit and no cache can add one.
"""

import hashlib
import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops.base.errors import StoreError
from mlops.base.files import sha256, written_whole


def write(path: Path, model: Any) -> None:
    """Write a fitted model, and trust it; the same model gives the same bytes (`mlops.training.fitting` says why).

    The file is that of `joblib.dump(model, path, compress=1)`, but for one thing. Pickle writes a text or a dtype a
    second time if it is an equal one and not the same one, and a model that comes from another process has others than
    one that was fitted here. Each is written once.

    Raises:
        StoreError: the file, or the list of trusted models, cannot be written.
    """
    import numpy as np
    from joblib.compressor import BinaryZlibFile
    from joblib.numpy_pickle import NumpyPickler

    class Pickler(NumpyPickler):  # type: ignore[misc]  # joblib has no types
        def save(self, part: Any) -> None:
            if type(part) is str or isinstance(part, np.dtype):
                part = first.setdefault((type(part), part), part)
            super().save(part)

    first: dict[tuple[type, Any], Any] = {}
    with written_whole(path) as part:
        with io.BufferedWriter(BinaryZlibFile(str(part), "wb", compresslevel=1)) as file:
            Pickler(file).dump(model)
        trust(sha256(part))


def read(path: Path, digest: str = "", load: Callable[[bytes], Any] | None = None) -> Any:
    """Read a model file; if a `digest` (SHA-256) is given, it must be that one.

    `load` makes the model of the bytes of the file, where that is not joblib's affair.

    Raises:
        StoreError: it is missing, broken, was written with other versions of the packages, has another digest, or is
            not trusted; of the last two nothing has run.
    """
    import joblib

    try:
        content = path.read_bytes()  # once: what is loaded is what was looked at
    except OSError as error:
        raise _unreadable(path, error) from None
    found = hashlib.sha256(content).hexdigest()
    if digest and found != digest:
        raise StoreError(
            f"{path} is not the model that was asked for (SHA-256 {found[:12]}…, not {digest[:12]}…), and was not "
            "loaded: delete it, and `dvc pull` brings back the right one"
        )
    if not is_trusted(found):
        raise StoreError(
            f"{path} (SHA-256 {found[:12]}…) was made elsewhere, and was not loaded, since a model file is code: "
            "`python -m mlops reproduce HEAD` makes it again here, `dvc repro --force train` makes your own, and "
            "`python -m mlops trust` says who committed it and trusts it"
        )
    try:
        return load(content) if load else joblib.load(io.BytesIO(content))
    except Exception as error:  # bytes that are no model can raise anything
        raise _unreadable(path, error) from None


def in_package(content: bytes, package: str) -> Any:
    """The model in the bytes of a file that `write` wrote, with the classes of `mlops` and `project` in a package.

    `package` ends with a dot. This runs code, and nothing asks whether it is trusted: it is for who has made the file,
    and for the copy of this module in a version.
    """
    from joblib.numpy_pickle import NumpyUnpickler

    class Unpickler(NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
        def find_class(self, module: str, name: str) -> Any:
            own = module.partition(".")[0] in ("mlops", "project")
            return super().find_class(f"{package}{module}" if own else module, name)

    return Unpickler("", io.BytesIO(zlib.decompress(content)), ensure_native_byte_order=True).load()


def trust(digest: str) -> None:
    """Let this account open the model with this SHA-256."""
    path = _list() / digest
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise StoreError(
            f"{path} could not be written ({error.strerror}): set XDG_STATE_HOME to a folder of yours"
        ) from None


def is_trusted(digest: str) -> bool:
    """Whether this account may open the model with this SHA-256."""
    return (_list() / digest).exists()


def _list() -> Path:
    """The folder with an empty file for each trusted model, as the XDG base directory specification places it."""
    home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(home, "mlops-models")


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} could not be read ({error}): run `dvc repro` to make it again")
