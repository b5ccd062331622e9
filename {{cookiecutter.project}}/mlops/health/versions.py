"""The versions and the audit log, read straight from a database or from a server, without MLflow's client.

To import MLflow takes two seconds, its client waits for minutes, and what it opens it may migrate.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from mlops.base import params
from mlops.base.errors import StoreError
from mlops.health import probes, tracking
from mlops.health.finding import Finding
from mlops.health.tracking import account
from mlops.history import paths, revisions
from mlops.registry import audit, backend, sqlite_store
from mlops.registry.ledger import Entry
from mlops.registry.registry import CHAMPION, MODEL_DIGEST, TAKEN_BACK, Version

MOST_PAGES = 50
BACK = "python -m mlops sync && python -m mlops audit restore"  # what only Git has
OTHER = f"export {tracking.VARIABLE}=…"  # the registry that has what the log names
# What MLflow's own reading of versions leaves out, too.
VERSIONS = (
    "SELECT version, creation_time, run_id, source FROM model_versions WHERE name = :name "
    "AND COALESCE(current_stage, '') != 'Deleted_Internal' ORDER BY version"
)
TAGS = "SELECT t.version, t.key, t.value FROM model_version_tags t WHERE t.name = :name"
ALIASES = "SELECT alias, version FROM registered_model_aliases WHERE name = :name ORDER BY alias"
Found = tuple[list[Version], list[Entry]]
Query = Callable[[str, str], Iterable[Any]]  # an SQL text and the name of a model


def read(uri: str, name: str) -> Found:
    """All versions of a model, the newest first, and the entries of its audit log, the oldest first.

    Raises:
        StoreError: the store cannot be reached, or refuses.
    """
    address = backend.address(uri)
    if path := sqlite_store.file_of(address):
        return _of_file(path, name) if path.exists() else ([], [])
    if urlsplit(address).scheme in ("http", "https"):
        return _of_server(address.rstrip("/"), name)
    return _of_database(address, name)


def moved(versions: Sequence[Mapping[str, Any]], entries: Sequence[Entry]) -> str:
    """The version that the log names last as the one in production, if the alias is not at it; "" if they agree.

    A version is known by its model. A log without a change says nothing.
    """
    last = audit.changes(entries)[-1:]
    champion = next((one for one in versions if CHAMPION in one["aliases"]), {})
    return next((str(each["to"]) for each in last if champion.get(MODEL_DIGEST) != each["model_digest"]), "")


def unknown(versions: Sequence[Mapping[str, Any]], entries: Sequence[Entry]) -> str:
    """What to do if the version that the log names last is not in this registry at all; "" if it is."""
    known = {each.get(MODEL_DIGEST) for each in versions}
    return next((audit.unknown(each) for each in audit.changes(entries)[-1:] if each[MODEL_DIGEST] not in known), "")


def lost(entries: Sequence[Entry]) -> Entry | None:
    """The last change in Git's copy of the log, if the registry's own log (`entries`) has none."""
    return None if audit.changes(entries) else next(iter(audit.changes(audit.mirrored())[-1:]), None)


def check(now: datetime) -> Iterator[Finding]:
    """Look whether the registry, its log and the copy of the log in Git say the same of what is in production."""
    try:
        address = params.load(params.Tracking, missing_ok=True).uri
        found, entries = read(address, params.load(params.Register, missing_ok=True).name)
    except StoreError:
        return  # told where the registry is looked at
    if last := lost(entries):
        here = "no change in its log" if found else "no version"
        said = f"the registry has {here} here, and {paths.AUDIT} says that version {last['to']} is in production"
        known = revisions.find("").digests.get(paths.MODEL.as_posix())
        first = "dvc pull && " if known and not paths.MODEL.exists() else ""  # `sync` records the model that is here
        yield Finding(tracking.SUBJECT, "fault", said, f"{first}{BACK}")
    elif number := moved([each.as_dict() for each in found], entries):
        alias = next((f"version {each.number}" for each in found if CHAMPION in each.aliases), "no version")
        said = f"the alias {CHAMPION} is at {alias}, and the log says that "
        if why := unknown([each.as_dict() for each in found], entries):
            yield Finding(tracking.SUBJECT, "fault", f"{said}{why}", OTHER)
        else:
            said += f"version {number} is in production"
            yield Finding(tracking.SUBJECT, "fault", said, "python -m mlops audit verify")


def _of_file(path: Path, name: str) -> Found:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1)) as store:
            return _both(lambda model: _of_tables(lambda query, of: store.execute(query, {"name": of}), model), name)
    except sqlite3.Error as error:
        raise StoreError(f"{path.name} cannot be read ({error})") from None


def _of_database(address: str, name: str) -> Found:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with tracking.engine(address).connect() as store:

            def ask(query: str, of: str) -> Iterable[Any]:
                return store.execute(sqlalchemy.text(query), {"name": of})

            return _both(lambda model: _of_tables(ask, model), name)
    except (SQLAlchemyError, ImportError) as error:  # its text may have the address
        raise StoreError(f"the tracking database cannot be read ({type(error).__name__})") from None


def _of_tables(ask: Query, model: str) -> list[Version]:
    """The versions of a model, the oldest first."""
    tags: dict[int, dict[str, str]] = {}
    for number, key, value in ask(TAGS, model):
        tags.setdefault(number, {})[key] = value
    aliases = [(alias, str(number)) for alias, number in ask(ALIASES, model)]
    return [_version(tuple(row), aliases, tags.get(row[0], {})) for row in ask(VERSIONS, model)]


def _of_server(address: str, name: str) -> Found:
    def asked(what: str, **query: str) -> Any:
        try:
            answer = probes.get(f"{address}/api/2.0/mlflow/{what}?{urlencode(query)}", account())
        except StoreError as error:
            raise StoreError(f"the tracking server cannot be reached: {error}") from None
        if answer.status in (backend.UNAUTHORIZED, backend.FORBIDDEN):
            raise StoreError("the tracking server refuses: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        if answer.status not in (200, 404):
            raise StoreError(f"the tracking server answers {answer.status}")
        return answer.json

    def versions(model: str) -> list[Version]:
        told = asked("registered-models/get", name=model).get("registered_model") or {}
        aliases = sorted((one["alias"], str(one["version"])) for one in told.get("aliases", []))
        rows: list[Any] = []
        token = ""
        for _ in range(MOST_PAGES):
            page = asked("model-versions/search", filter=f"name='{model}'", page_token=token)
            rows += page.get("model_versions", [])
            if not (token := page.get("next_page_token", "")):
                break
        facts = [
            (int(one["version"]), int(one["creation_timestamp"]), one.get("run_id"), one["source"]) for one in rows
        ]
        tags = [{tag["key"]: tag.get("value", "") for tag in one.get("tags", [])} for one in rows]
        several = [_version(row, aliases, given) for row, given in zip(facts, tags, strict=True)]
        return sorted(several, key=lambda one: int(one.number))

    try:
        return _both(versions, name)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreError("the tracking server answers in a form that is not known: is it MLflow?") from None


def _version(row: tuple[Any, ...], aliases: list[tuple[str, str]], tags: dict[str, str]) -> Version:
    number, created, run, source = row
    own = tuple(alias for alias, of in aliases if of == str(number))
    at = datetime.fromtimestamp(created / 1000, UTC).isoformat(timespec="seconds")
    return Version(str(number), own, at, run or "", source, tags)


def _both(versions: Callable[[str], list[Version]], name: str) -> Found:
    """The versions that were not taken back, the newest first, and the entries of the log."""
    of_model, of_log = (
        [one for one in versions(model) if TAKEN_BACK not in one.tags] for model in (name, audit.log_of(name))
    )
    return of_model[::-1], audit.entries_of((one.tags, int(one.number)) for one in of_log)
