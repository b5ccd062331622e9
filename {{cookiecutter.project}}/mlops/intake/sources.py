"""Sources of data: a path, a web or S3 address, or a database; fetched into a file, described without secrets."""

import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

from mlops.base import console
from mlops.base.errors import DataError, ParameterError, ProjectError, StoreError
from mlops.intake.deliveries import ENDINGS

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy.engine import URL, Engine

FILE_SCHEMES = ("http", "https", "s3")
ROWS = 50_000  # rows of a query's result in memory at once
MOST_BYTES = 5_000_000_000  # of a download, also after a server's compression is undone
HIDDEN = "***"
TIMEOUT = 30  # seconds to wait for an answer of a server
MAGIC = {b"PAR1": ".parquet", b"\x1f\x8b": ".csv.gz", b"PK\x03\x04": "a ZIP archive or Excel file", b"<": "a web page"}
# Names of URL parameters whose values may be secret.
SECRET = re.compile(r"pass|pwd|token|secret|sig|key|auth|cred|session|jwt|code|sas|policy|odbc|x-amz|x-goog", re.I)
QUOTED = re.compile(r"(['$]).*\1", re.S)  # everything from the first quote in a query to the last
WAL_MARK = 18  # the byte of a SQLite file that is 2 if changes go to a log (https://sqlite.org/fileformat.html)
# What a query to SQLite may do; the rest writes to this file or to another one, or changes how it is read.
READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
ENVIRONMENT = ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
EXPLANATIONS = {
    "FileNotFoundError": "there is nothing of that name",
    "PermissionError": "access is refused",
    "NoCredentialsError": "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "ParamValidationError": "a bucket and a file are needed, as in s3://bucket/file.csv",
    "TooManyRedirects": "it redirects in circles",
    "ClientPayloadError": "the download broke off: fetch it again",
    "TimeoutError": "it did not answer in time",
}


def described(source: str, query: str | None = None) -> str:
    """The source and the query without secrets: no user, no password, no secret parameter, no text in quotes."""
    public = _without_secrets(source)[0]
    query = " ".join(QUOTED.sub(HIDDEN, query or "").split())
    return f"{public}: {query}" if query else public


def fetch(source: str, query: str | None, folder: Path) -> Path:
    """Fetch the data of `source` into the empty `folder` and return the file; a local file is only linked.

    A database (any URL that SQLAlchemy knows) runs `query`. The query is never committed. SQLite and PostgreSQL refuse
    whatever does more than read. Credentials are in the URL, or where the service looks for them.

    Raises:
        ParameterError: only a database needs a query; or the query does more than read.
        DataError: the source has no data, or is a kind of file that cannot be read.
        StoreError: the source could not be fetched; the sentence has no secret.
    """
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    is_file = not scheme or scheme in FILE_SCHEMES
    if is_file != (query is None):
        right = "leave out --query, which is for databases" if is_file else "say with --query which rows"
        raise ParameterError(f"{described(source)}: {right}")
    with _errors_as_sentences(source):
        if query is not None:
            return _queried(re.sub(r"^postgres://", "postgresql://", source), query, folder)
        if scheme:
            return _downloaded(source, scheme, folder)
    name = Path(source).name
    if not name.lower().endswith(ENDINGS):
        raise DataError(f"{source} is none of {', '.join(ENDINGS)}: export it as one of them")
    if not Path(source).is_file():
        raise DataError(f"{source} is no file: give the path of one, a URL, or a database with --query")
    (folder / name).symlink_to(Path(source).resolve())
    return folder / name


def _without_secrets(source: str) -> tuple[str, set[str]]:
    """The source without secrets, and the secrets in it; only the scheme if the two cannot be separated.

    Without percent-encoding, a sign such as @ may belong to the password or may end it.
    """
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    scheme, separator, rest = source.partition("://")
    if not separator:
        return source, set()
    if scheme.lower() in FILE_SCHEMES:
        place = re.split("[/?#]", rest, maxsplit=1)[0]
        user, _, host = place.rpartition("@")
        well = re.fullmatch(r"(\[[\da-fA-F:.%]+\]|[^\[\]:]*)(:\d*)?", host)
        path, _, parameters = rest[len(place) :].partition("#")[0].partition("?")
        pairs = [tuple(pair.partition("=")[::2]) for pair in parameters.split("&") if pair]
        clear = well and "@" not in user and not ((user or ":" in host) and "@" in rest[len(place) :])
        kept = "&".join(f"{name}={value}" for name, value in pairs if not SECRET.search(unquote(name)))
        public = f"{scheme}://{host}{path}" + f"?{kept}" * bool(kept)
        secrets = {user, user.partition(":")[2]}
    else:
        try:
            url = make_url(source)
        except (ArgumentError, ValueError):
            return f"{scheme}://{HIDDEN}", {rest}
        pairs = [(name, value) for name, values in url.normalized_query.items() for value in values]
        clear = url.get_backend_name() == "sqlite" or "@" not in f"{url.host}{url.database}"
        query = {name: value for name, value in url.query.items() if not SECRET.search(name)}
        public = str(URL.create(url.drivername, host=url.host, port=url.port, database=url.database, query=query))
        secrets = {str(url.password or ""), *re.findall(r"^[^:/]*:([^@]*)@", rest)}
    secrets |= {value for name, value in pairs if SECRET.search(unquote(name))}
    return (public, secrets) if clear else (f"{scheme}://{HIDDEN}", {rest})


@contextmanager
def _errors_as_sentences(source: str) -> Iterator[None]:
    """Raise any error of a source as one sentence that has none of its secrets in any spelling."""
    try:
        yield
    except ProjectError:
        raise
    except Exception as error:  # every protocol and driver has its own errors
        public, secrets = _without_secrets(source)
        secrets |= {os.environ.get(name, "") for name in ENVIRONMENT}
        cause = getattr(error, "orig", None) or error  # the driver's error, without SQLAlchemy's text around it
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        reason = reason.replace(source, public)
        for secret in sorted(_spellings(secrets), key=len, reverse=True):
            reason = reason.replace(secret, HIDDEN)
        if public.endswith(f"://{HIDDEN}"):
            reason = "where its user and password end is not clear: write their @ : / ? # as %40 %3A %2F %3F %23"
        names = [kind.__name__ for kind in type(cause).__mro__ if kind.__name__ in EXPLANATIONS]
        reason = f"{EXPLANATIONS[names[0]]} ({reason})" if names else reason
        raise StoreError(f"{public} could not be read: {reason}") from None


def _spellings(secrets: set[str]) -> set[str]:
    """The spellings that secrets may have in a message: plain, or percent-encoded in any way."""
    forms = (str, unquote, quote, quote_plus, lambda secret: quote(unquote(secret), safe=""))
    return {form(secret) for secret in secrets for form in forms if secret}


def _downloaded(url: str, scheme: str, folder: Path) -> Path:
    """Download a file into `folder`; the ending of its name there is the one that its content should have."""
    import fsspec
    from fsspec.callbacks import Callback

    options: dict[str, Any] = {}
    if scheme != "s3":
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
        options = {"encoded": "%" in url, "client_kwargs": {"timeout": timeout, "trust_env": True}}
    goal = folder / "fetched"
    with _meter("fetching") as shown:

        def within_limit(size: int | None, value: int, **more: Any) -> None:
            if max(size or 0, value) > MOST_BYTES:
                raise StoreError(
                    f"{described(url)} has more than {MOST_BYTES / 1e9:g} GB, the limit of a download: if that is "
                    "right, download it yourself, and give the path of the file"
                )
            shown(size, value, **more)

        callback = Callback(hooks={"meter": within_limit})
        fsspec.filesystem(scheme, **options).get_file(url, str(goal), callback=callback)
    size = goal.stat().st_size
    if scheme == "s3" and size < (callback.size or 0):  # aiohttp checks this itself
        raise StoreError(f"{described(url)} broke off after {size} of {callback.size} bytes: fetch it again")
    with goal.open("rb") as file:
        start = file.read(4)
    kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), ".csv")
    if not kind.startswith("."):
        raise DataError(f"{described(url)} is {kind}: export it as CSV or Parquet")
    name = unquote(described(url).rpartition("?")[0] or described(url)).rstrip("/").rpartition("/")[2]
    return goal.rename(folder / f"{stem(name)}{kind}")


def stem(name: str) -> str:
    """The name of a data file without its ending, as a valid part of a file name."""
    ending = next((ending for ending in reversed(ENDINGS) if name.lower().endswith(ending)), "")
    return re.sub(r"[^\w.-]+", "-", name[: len(name) - len(ending)]).strip("-.")[:80] or "delivery"


@contextmanager
def _meter(what: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar of bytes on a terminal, and nothing in a log."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=None)
        yield lambda size, value, **_: progress.update(task, total=size, completed=value)


def _queried(url: str, query: str, folder: Path) -> Path:
    """Write the result of a query as Parquet: first in parts, then joined with types that hold the values of all."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import sqlalchemy
    from sqlalchemy.exc import DatabaseError, NoSuchModuleError

    place = sqlalchemy.make_url(url)
    arguments: dict[str, Any] = {}
    options: dict[str, Any] = {"stream_results": True, "no_parameters": True}  # % and : in the query are plain text
    try:
        kind = place.get_backend_name()
        if kind == "postgresql":
            options["postgresql_readonly"] = True
            arguments = {} if "connect_timeout" in place.query else {"connect_timeout": TIMEOUT}
        engine = _sqlite(url, place) if kind == "sqlite" else sqlalchemy.create_engine(place, connect_args=arguments)
    except NoSuchModuleError:
        known = ", ".join(FILE_SCHEMES)
        raise ParameterError(f"{described(url)} is none of {known}, nor a database that SQLAlchemy knows") from None
    except ModuleNotFoundError as error:
        raise StoreError(f"{described(url)} needs the driver {error.name}, which is not installed") from None
    parts: list[Path] = []
    try:
        with engine.connect().execution_options(**options) as connection:
            if kind == "sqlite":  # after SQLAlchemy's own questions
                opened: Any = connection.connection.driver_connection
                opened.set_authorizer(_reads_only)
            result = connection.exec_driver_sql(query)
            names = list(result.keys()) if result.returns_rows else []
            if not names:
                raise DataError(f"the query to {described(url)} gives no rows: ask SELECT …")
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise DataError(
                    f"the query gives two columns of the same name ({', '.join(repeated)}): name each with AS"
                )
            for rows in console.progress(result.partitions(ROWS), None, "reading rows"):
                parts.append(folder / f".{len(parts)}.part")
                pq.write_table(pa.table([_array(values) for values in zip(*rows, strict=True)], names), parts[-1])
    except DatabaseError as error:
        if "authoriz" not in str(error.orig):
            raise
        raise ParameterError(f"the query to {described(url)} does more than read rows: ask SELECT …") from None
    finally:
        engine.dispose()
    if not parts:
        raise DataError(f"the query to {described(url)} gives no row: at least one was expected")
    return _joined(parts, folder / f"{stem(Path(place.database or 'query').stem)}.parquet")


def _sqlite(url: str, place: "URL") -> "Engine":
    """An engine that opens the file of a SQLite URL to read it; the path may be percent-encoded.

    Raises:
        StoreError: there is no such file. SQLite would create it.
    """
    import sqlalchemy

    name = (place.database or "").removeprefix("file:")  # the parameters of a file: address may allow to write
    as_written = url.partition(":///")[2].partition("?")[0]
    path = next((path for path in map(Path, (name, unquote(name), as_written)) if path.is_file()), None)
    if path is None:
        raise StoreError(f"{described(url)} is no file")
    address = f"{path.resolve().as_uri()}?mode=ro"
    with path.open("rb") as file:
        has_log = file.read(WAL_MARK + 1)[WAL_MARK:] == b"\2"
    if has_log and not path.with_name(f"{path.name}-wal").exists():
        address += "&immutable=1"  # nobody has it open, and SQLite would lay an empty log beside it
    return sqlalchemy.create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True))


def _reads_only(action: int, _: str | None, function: str | None, *__: str | None) -> int:
    """SQLite's question whether a statement may do something (`set_authorizer`)."""
    reads = action in READING and function != "load_extension"
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _instant(value: date) -> datetime:
    """A date is its midnight; a time with a zone becomes UTC, as everywhere in this project."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


# The first set that has all types of a column's values says how the values are converted; else they become text.
CONVERSIONS: tuple[tuple[set[type], Callable[[Any], Any]], ...] = (
    ({bool}, bool),
    ({int}, int),
    ({int, float, Decimal}, float),
    ({date, datetime}, _instant),
)


def _array(values: tuple[Any, ...]) -> "pa.Array":
    """The values of one column: truth values, integers, numbers or times if all values are, else text."""
    import pyarrow as pa

    types = {float if isinstance(value, int) and abs(value) >= 2**63 else type(value) for value in values}
    types -= {type(None)}
    convert = next((convert for known, convert in CONVERSIONS if types <= known), str)
    return pa.array([None if value is None else convert(value) for value in values])


def _joined(parts: list[Path], goal: Path) -> Path:
    """Join files into one; a column of several types becomes numbers if all its types are numbers, else text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(part) for part in parts]
    fields = []
    for at, name in enumerate(schemas[0].names):
        kinds = {schema.field(at).type for schema in schemas} - {pa.null()}
        numbers = kinds == {pa.int64(), pa.float64()}
        fields.append((name, kinds.pop() if len(kinds) == 1 else pa.float64() if numbers else pa.string()))
    with pq.ParquetWriter(goal, pa.schema(fields)) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(pa.schema(fields), safe=False))
            part.unlink()
    return goal
