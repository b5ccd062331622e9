"""MLflow's store: is it reachable, migrated and whole? Asked by SQL and HTTP, so that nothing is changed or migrated.

MLflow itself creates and migrates what it opens, and needs seconds to be imported.
"""

import os
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from mlops.base import params
from mlops.base.errors import StoreError, counted
from mlops.health import probes
from mlops.health.finding import Finding
from mlops.health.storage import without_secrets
from mlops.registry import backend, sqlite_store

if TYPE_CHECKING:
    import sqlalchemy

SUBJECT = "registry"
VARIABLE = "MLFLOW_TRACKING_URI"
REVISION = re.compile(r"""^(down_)?revision = ["'](\w+)["']""", re.MULTILINE)
MOST_COMPARED = 100_000_000  # bytes of a SQLite store that is read to the end
LONGEST_RUN = 6 * 3600  # seconds: to record a result takes less than a minute
SKEW, REFUSED_SKEW = 60, 300  # seconds between two clocks; from the second on, S3 and tokens may be refused
# The start of each unfinished run, in milliseconds.
RUNNING = "SELECT run_uuid, start_time FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active'"
CURRENT = "SELECT version_num FROM alembic_version"
Query = Callable[[str], list[tuple[Any, ...]]]


def check(now: datetime) -> Iterator[Finding]:
    """Look at the store that params.yaml or the environment names."""
    configured = params.load(params.Tracking, missing_ok=True).uri
    try:
        address = backend.address(configured)
    except StoreError as error:
        yield Finding(SUBJECT, "fault", str(error), f"unset {VARIABLE}")
        return
    scheme = urlsplit(address).scheme
    if database := sqlite_store.file_of(address):
        yield from _sqlite(database, address, now)
    elif scheme in ("http", "https"):
        yield from _server(address.rstrip("/"), now)
    elif scheme.partition("+")[0] in ("postgresql", "postgres", "mysql", "mssql"):
        yield from _database(address, now)
    else:
        yield Finding(SUBJECT, "unknown", f"{without_secrets(address)} is a store of a kind that is not looked at")


def _sqlite(path: Path, address: str, now: datetime) -> Iterator[Finding]:
    shown = os.path.relpath(path)
    if not path.exists():
        yield Finding(SUBJECT, "fine", f"{shown} will be made by the first run of the pipeline")
        return
    aside = f"mv {shlex.quote(shown)} {shlex.quote(shown)}.broken && python -m mlops sync"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1)) as store:
            damaged = None
            if path.stat().st_size <= MOST_COMPARED:
                [(damaged,)] = store.execute("PRAGMA quick_check(1)").fetchall()
            if damaged not in (None, "ok"):
                yield Finding(SUBJECT, "fault", f"{shown} is damaged: SQLite finds its tables broken", aside)
                return
            copied = f"cp {shlex.quote(shown)} {shlex.quote(shown)}.before && "
            yield from _migrated(lambda query: store.execute(query).fetchall(), shown, address, copied)
            yield from _running(_by_query(store.execute(RUNNING).fetchall()), address, now)
            if not sqlite_store.artifact_root(path).is_dir() and store.execute("SELECT 1 FROM runs").fetchone():
                said = f"{shown} is here without the folder mlruns, which has the files of its runs"
                yield Finding(SUBJECT, "fault", said, "cp -r WHERE-IT-WAS/mlruns .")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            yield Finding(SUBJECT, "unknown", f"{shown} is in use by another process")
        elif "no such table" in str(error):
            yield Finding(SUBJECT, "fault", f"{shown} is no store of MLflow: it lacks its tables", aside)
        else:
            yield Finding(SUBJECT, "fault", f"{shown} cannot be opened ({error})", f"chmod u+rw {shlex.quote(shown)}")
    except sqlite3.DatabaseError as error:
        yield Finding(SUBJECT, "fault", f"{shown} is damaged ({error})", aside)


def _database(address: str, now: datetime) -> Iterator[Finding]:
    """A database that MLflow's client uses directly, without a server."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    place = without_secrets(address)
    try:
        with engine(address).connect() as store:

            def ask(query: str) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in store.execute(sqlalchemy.text(query))]

            yield from _migrated(ask, place, f'"${VARIABLE}"' if os.environ.get(VARIABLE) else place, "")
            yield from _running(_by_query(ask(RUNNING)), place, now)
    except (SQLAlchemyError, ImportError) as error:  # its text may have the address
        said = f"{place} cannot be used ({type(error).__name__}): is it running, and is the password right?"
        yield Finding(SUBJECT, "fault", said, f"export {VARIABLE}=…")


def engine(address: str) -> "sqlalchemy.Engine":
    """The engine of a database, which gives up after some seconds.

    Raises:
        ImportError: its driver is not installed.
        SQLAlchemyError: the address is none.
    """
    import sqlalchemy

    limit = {"connect_timeout": int(probes.SECONDS)} if address.startswith(("postgres", "mysql")) else {}
    return sqlalchemy.create_engine(address, connect_args=limit)


def _migrated(ask: Query, place: str, address: str, before: str) -> Iterator[Finding]:
    """Compare the form of the tables with the one that the installed MLflow wants."""
    current = [str(row[0]) for row in ask(CURRENT)]
    known, heads = revisions()
    version = metadata.version("mlflow")
    if current == heads:
        yield Finding(SUBJECT, "fine", f"{place} has the tables of MLflow {version}", figures={"revision": current[0]})
    elif set(current) <= known:
        said = f"{place} has the tables of an older MLflow ({named_or_none(current)}): {version} refuses them"
        command = f"{before}mlflow db upgrade {address if address.startswith(chr(34)) else shlex.quote(address)}"
        yield Finding(SUBJECT, "fault", said, command)
    else:
        from mlops.base import environment

        said = f"{place} has the tables of a newer MLflow ({named_or_none(current)}) than {version}, which is installed"
        yield Finding(SUBJECT, "fault", said, environment.install())


def named_or_none(names: list[str]) -> str:
    """Revisions in a sentence."""
    return ", ".join(names) or "none"


def revisions() -> tuple[set[str], list[str]]:
    """All revisions of the tables that the installed MLflow knows, and the newest one, read from its files."""
    found = util.find_spec("mlflow")
    places = (found.submodule_search_locations if found else None) or []
    folder = next((Path(place, "store", "db_migrations", "versions") for place in places), Path())
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    marks = [REVISION.findall(text) for text in texts]
    known = {name for each in marks for down, name in each if not down}
    before = {name for each in marks for down, name in each if down}
    return known, sorted(known - before)


def _by_query(rows: list[tuple[Any, ...]]) -> dict[str, float]:
    return {str(run): float(start or 0) / 1000 for run, start in rows}


def _running(starts: dict[str, float], address: str, now: datetime) -> Iterator[Finding]:
    """Runs that nobody finishes any more, from the start (Unix seconds) of each that is not finished."""
    stale = sorted(run for run, start in starts.items() if now.timestamp() - start > LONGEST_RUN)
    if stale:
        hours = (now.timestamp() - min(starts[run] for run in stale)) / 3600
        runs = f"{counted(len(stale), 'run')} {'is' if len(stale) == 1 else 'are'}"
        said = f"{runs} RUNNING for up to {hours:.0f} hours: whoever made them was killed"
        several = " && ".join(f"mlflow runs delete --run-id {run}" for run in stale[:3])
        command = f"export {VARIABLE}={shlex.quote(address)} && {several}"
        yield Finding(SUBJECT, "warning", said, command, figures={"runs": stale})


def account() -> dict[str, str]:
    """The header by which MLflow's server knows who asks; empty without an account."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    return probes.basic(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else {}


def _server(address: str, now: datetime) -> Iterator[Finding]:
    place = without_secrets(address)
    try:
        told = probes.get(f"{address}/version", account())
        listed = probes.get(f"{address}/api/2.0/mlflow/registered-models/search?max_results=1", account())
    except StoreError as error:
        said = f"the tracking server {place} cannot be reached: {error}"
        yield Finding(SUBJECT, "fault", said, f"curl --max-time 5 {shlex.quote(f'{place}/health')}")
        return
    if listed.status in (backend.UNAUTHORIZED, backend.FORBIDDEN):
        why = "asks who this is" if not account() else "does not know this account, or refuses it"
        command = "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…"
        yield Finding(SUBJECT, "fault", f"the tracking server {place} {why}", command)
        return
    if listed.status >= 300:
        said = f"{place} answers {listed.status} to a question for the models: is it MLflow, and is its database there?"
        yield Finding(SUBJECT, "fault", said, f"curl {shlex.quote(f'{place}/version')}")
        return
    yield from _versions(place, told)
    yield from _clock(place, told.ahead)
    with suppress(StoreError, KeyError, TypeError):  # an old server, or no right to it
        yield from _running(_unfinished(address), address, now)


def _versions(place: str, told: probes.Answer) -> Iterator[Finding]:
    server = told.text.strip() if told.status == 200 and re.fullmatch(r"[\d.]+\w*", told.text.strip()) else ""
    client = metadata.version("mlflow")
    said = f"the tracking server {place} answers, MLflow {server or 'of an unknown version'}"
    figures = {"server": server, "client": client}
    if server and _minor(server) < _minor(client):
        said += f", which is older than the {client} here: it may refuse what it does not know"
        yield Finding(SUBJECT, "warning", said, f"pip install mlflow=={client}   # on the server", figures=figures)
    else:
        yield Finding(SUBJECT, "fine", said, figures=figures)


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _clock(place: str, ahead: float | None) -> Iterator[Finding]:
    """The difference between the clock of a server and this one."""
    if ahead is None:
        return
    size = abs(ahead)
    figures = {"seconds": round(ahead, 1)}
    if size < SKEW:
        yield Finding("clock", "fine", f"within {max(size, 1):.0f} s of {place}", figures=figures)
        return
    said = f"this clock is {size:,.0f} s {'behind' if ahead > 0 else 'ahead of'} that of {place}"
    state: Any = "fault" if size >= REFUSED_SKEW else "warning"
    yield Finding(
        "clock",
        state,
        f"{said}: signatures and the order of changes depend on it",
        "timedatectl set-ntp true",
        figures=figures,
    )


def check_clock(now: datetime) -> Iterator[Finding]:
    """Compare this clock with that of a remote that speaks HTTP; the registry's is compared by `check`."""
    from mlops.health import storage

    settings = storage.config()
    name = settings.get("core", {}).get("remote")
    remote = settings.get("remote", {}).get(name, {}) if name else {}
    url = str(remote.get("url", ""))
    endpoint = remote.get("endpointurl") or os.environ.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"
    if url.startswith("s3://"):
        url = str(endpoint)
    if url.startswith(("http://", "https://")):
        with suppress(StoreError):  # that it cannot be reached is told where it is looked for
            yield from _clock(without_secrets(url), probes.get(url, method="HEAD").ahead)


def _unfinished(address: str) -> dict[str, float]:
    """The start (Unix seconds) of each run of the experiment that is not finished."""
    name = params.load(params.Tracking, missing_ok=True).experiment
    asked = urlencode({"experiment_name": name})
    home = probes.get(f"{address}/api/2.0/mlflow/experiments/get-by-name?{asked}", account()).json
    number = home["experiment"]["experiment_id"]
    wanted = {"experiment_ids": [number], "filter": "attributes.status = 'RUNNING'", "max_results": 100}
    found = probes.get(f"{address}/api/2.0/mlflow/runs/search", account(), wanted, "POST").json
    return {run["info"]["run_id"]: run["info"]["start_time"] / 1000 for run in found.get("runs", [])}
