"""Where runs and versions are kept, and one sentence when that place does not answer, does not know us, or says no."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from mlops.base import locks
from mlops.base.errors import StoreError
from mlops.history import provenance

# MLflow's own ways: it draws bars and links into logs, and tries for minutes to reach what is not there.
QUIET_AND_SOON = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
DRIVERS = ("mlflow", "sqlite3", "sqlalchemy", "psycopg", "requests", "boto3", "botocore")
LONGEST_TURN = 600  # seconds to wait for other processes to record what they have
UNKNOWN, FORBIDDEN = 401, 403  # what a server answers (RFC 9110)


def address(configured: str) -> str:
    """Where runs are kept: MLFLOW_TRACKING_URI, else what is `configured`, else `mlflow.db` in the project.

    Raises:
        StoreError: it is a relative SQLite path, which in a queued experiment is another store, soon deleted.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI") or configured
    if not chosen:
        return f"sqlite:///{provenance.root().as_posix()}/mlflow.db"
    if chosen.startswith("sqlite:") and not chosen.startswith("sqlite:////"):
        raise StoreError(f"the tracking URI {chosen} is a relative path: give an absolute one (sqlite:////…)")
    return chosen


def database(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def exclusive(uri: str) -> AbstractContextManager[None]:
    """Keep other processes out of a SQLite store meanwhile; a server sees to itself."""
    path = database(uri)
    if path is None:
        return nullcontext()
    message = f"the tracking store {path} is in use by another process: try again when it has ended"
    return locks.exclusive(path.with_name(f"{path.name}.lock"), message, LONGEST_TURN)


@contextmanager
def errors_as_sentences(uri: str) -> Iterator[None]:
    """Turn what MLflow and its drivers raise into one sentence, soon instead of after minutes of retries.

    Raises:
        StoreError: the store at `uri` cannot be reached, does not know this account, or refuses.
    """
    for name, value in QUIET_AND_SOON.items():
        os.environ.setdefault(name, value)
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, ValueError, RuntimeError)) or type(error).__module__.startswith(DRIVERS):
            raise StoreError(_without_secrets(_sentence(uri, error))) from None
        raise


def refused(error: Exception) -> bool:
    """Whether a server knows who asks, and does not let them."""
    return _status(error) == FORBIDDEN


def _sentence(uri: str, error: Exception) -> str:
    account = provenance.account()
    if _status(error) == UNKNOWN:
        found = f"does not know {account} with this password" if account else "asks who this is"
        return (
            f"the tracking server {uri} {found}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an "
            "account of it; nothing was recorded"
        )
    if refused(error):
        return (
            f"the tracking server {uri} does not allow {account} to do this: ask who administers it for EDIT on the "
            "experiment, the model and its audit log (see README.md); nothing was recorded"
        )
    reason = " ".join(str(error).split())[:300]
    return (
        f"the tracking store {uri} could not be used ({reason}): see that it runs and is reachable, then "
        "`dvc repro` again; nothing was recorded"
    )


def _status(error: Exception) -> int:
    """What a server answered, of errors by MLflow and by its artifacts' client; 0 of any other error."""
    if hasattr(error, "get_http_status_code"):
        return int(error.get_http_status_code())
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _without_secrets(sentence: str) -> str:
    return re.sub(r"//[^/\s@]*@", "//", sentence)
