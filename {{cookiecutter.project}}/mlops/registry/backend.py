"""The address of MLflow's store, and its errors as sentences."""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from mlops.base.errors import StoreError, without_passwords
from mlops.history import provenance
from mlops.registry import sqlite_store

# By default MLflow draws bars and links into logs, and retries for minutes to reach a server that is not there.
SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
DRIVERS = ("mlflow", "sqlite3", "sqlalchemy", "psycopg", "requests", "boto3", "botocore")
DELETED = re.compile(r"The (experiment|run) (\w+) must be in the 'active' state")
UNAUTHORIZED, FORBIDDEN = 401, 403  # HTTP status codes (RFC 9110)


def address(configured: str) -> str:
    """The store's address: MLFLOW_TRACKING_URI, else `configured`, else `mlflow.db` in the project.

    Raises:
        StoreError: the address is a relative SQLite path: in a queued experiment it would be another store, soon
            deleted.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI") or configured
    if not chosen:
        return sqlite_store.address(provenance.root() / "mlflow.db")
    if chosen.startswith("sqlite:") and not chosen.startswith("sqlite:////"):
        raise StoreError(f"the tracking URI {chosen} is a relative path: give an absolute one (sqlite:////…)")
    return chosen


@contextmanager
def errors_as_sentences(uri: str) -> Iterator[None]:
    """Turn an error of MLflow or its drivers into one sentence, without minutes of retries.

    Raises:
        StoreError: the store at `uri` cannot be reached, does not know this account, or refuses.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, ValueError, RuntimeError)) or type(error).__module__.startswith(DRIVERS):
            raise StoreError(without_passwords(_sentence(uri, error))) from None
        raise


def refused(error: Exception) -> bool:
    """Whether a server denied the account its permission."""
    return _status(error) == FORBIDDEN


def _sentence(uri: str, error: Exception) -> str:
    account = provenance.account()
    if _status(error) == UNAUTHORIZED:
        found = f"does not know {account} with this password" if account else "asks who this is"
        return (
            f"the tracking server {uri} {found}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an "
            "account of it; nothing was changed"
        )
    if refused(error):
        return (
            f"the tracking server {uri} does not allow {account} to do this: ask who administers it for EDIT on the "
            "experiment, the model and its audit log (see docs/tracking-server.md); nothing was changed"
        )
    reason = " ".join(str(error).split())[:300]
    if deleted := DELETED.search(reason):
        kind, number = deleted.groups()
        restore = f"MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow {kind}s restore --{kind}-id {number}"
        return f"the MLflow {kind} {number} was deleted: restore it (`{restore}`), and try again; nothing was changed"
    return (
        f"the tracking store {uri} could not be used ({reason}): see that it runs and is reachable, and "
        "try again; nothing was changed"
    )


def _status(error: Exception) -> int:
    """The HTTP status code in an error of MLflow or of its artifact client; 0 if the error has none."""
    if hasattr(error, "get_http_status_code"):
        return int(error.get_http_status_code())
    return int(getattr(getattr(error, "response", None), "status_code", 0))
