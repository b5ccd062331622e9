"""Where data comes from: a path, a web or S3 address, a database; fetched into a file, and told without secrets."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from ml.errors import DataError, ParameterError, StoreError
from store import console
from store.deliveries import ENDINGS

FILE_SCHEMES = ("http", "https", "s3")
ROWS = 50_000  # of a query's result, in memory at once
HIDDEN = "***"


def described(source: str) -> str:
    """The source as it may be told and kept: no password, and no query string, in which secrets hide as well."""
    if "://" not in source:
        return source
    try:
        parts = urlsplit(source)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return f"{source.partition('://')[0]}://{HIDDEN}"
    user = "" if parts.scheme in FILE_SCHEMES or not parts.username else f"{parts.username}@"
    return f"{parts.scheme}://{user}{host}{parts.path}"


def fetch(source: str, query: str | None, folder: Path) -> Path:
    """Bring what `source` has into `folder`, as the only file there; a path is only linked to.

    A database (any URL that SQLAlchemy knows) is asked `query`, which can change nothing where it knows read-only
    transactions, and is never committed. Credentials may stand in the URL, or where the service looks for them.

    Raises:
        ParameterError: source and query do not fit each other.
        DataError: there is nothing, or it is no kind of file that can be read.
        StoreError: it could not be fetched; no secret is in the sentence.
    """
    scheme = source.partition("://")[0] if "://" in source else ""
    is_file = not scheme or scheme in FILE_SCHEMES
    if is_file != (query is None):
        right = "leave out --query, which is for databases" if is_file else "say with --query which rows"
        raise ParameterError(f"{described(source)}: {right}")
    if query is not None:
        return _asked(source, query, folder / "query.parquet")
    name = PurePosixPath(unquote(urlsplit(source).path)).name if scheme else Path(source).name
    if not name.lower().endswith(ENDINGS):
        raise DataError(f"{described(source)} is none of {', '.join(ENDINGS)}: export it as one of them")
    if scheme:
        return _downloaded(source, folder / name)
    if not Path(source).is_file():
        raise DataError(f"{source} is no file: give the path of one, a URL, or a database with --query")
    (folder / name).symlink_to(Path(source).resolve())
    return folder / name


def _downloaded(url: str, goal: Path) -> Path:
    import fsspec

    try:
        with fsspec.open(url, "rb", **({} if url.startswith("s3") else {"block_size": 0})) as remote:
            size, fetched = getattr(remote, "size", None), 0
            with goal.open("wb") as file:
                for chunk in console.progress(iter(lambda: remote.read(1 << 20), b""), None, "fetching"):
                    fetched += file.write(chunk)
    except Exception as error:  # every protocol has its own
        raise _failed(url, error) from None
    if size and fetched < size:
        raise StoreError(f"{described(url)} broke off after {fetched} of {size} bytes: fetch it again")
    return goal


def _asked(url: str, query: str, goal: Path) -> Path:
    """The result of a query as Parquet: written part by part, then joined under types that hold all parts."""
    import pyarrow.parquet as pq
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        engine = sqlalchemy.create_engine(url)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise _failed(url, error) from None
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
        raise DataError(f"{described(url)} is no file: give the path of an SQLite database")  # it would be made
    options: dict[str, Any] = {"stream_results": True}
    if engine.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    parts = []
    try:
        with engine.connect().execution_options(**options) as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
            result = connection.execute(sqlalchemy.text(query.replace(":", r"\:")))
            if not result.returns_rows:
                raise DataError(f"the query to {described(url)} gives no rows: write a SELECT")
            names = list(result.keys())
            for number, rows in enumerate(console.progress(result.partitions(ROWS), None, "reading rows")):
                parts.append(goal.with_name(f".{number}.part"))
                pq.write_table(_columns(names, rows), parts[-1])
    except DataError:
        raise
    except Exception as error:  # every driver has its own
        raise _failed(url, error) from None
    finally:
        engine.dispose()
    if not parts:
        raise DataError(f"the query to {described(url)} gives no row: at least one was expected")
    _join(parts, goal)
    return goal


def _columns(names: list[str], rows: Any) -> Any:
    """Rows of Python values as an Arrow table; what Arrow has no type for, or of mixed types, becomes text."""
    import pyarrow as pa

    if len(set(names)) < len(names):
        raise DataError(f"the query gives two columns of the same name ({', '.join(names)}): name each with AS")
    arrays = []
    for values in zip(*rows, strict=True):
        try:
            arrays.append(pa.array(values))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            arrays.append(pa.array([None if value is None else str(value) for value in values]))
    return pa.table(arrays, names=names)


def _join(parts: list[Path], goal: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(part) for part in parts]
    fields = []
    for at, name in enumerate(schemas[0].names):
        try:
            one = pa.unify_schemas([pa.schema([schema.field(at)]) for schema in schemas], promote_options="permissive")
            kind = one.field(0).type
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            kind = pa.string()
        fields.append(pa.field(name, pa.string() if pa.types.is_null(kind) else kind))
    with pq.ParquetWriter(goal, pa.schema(fields)) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(pa.schema(fields)))
            part.unlink()


def _failed(source: str, error: Exception) -> StoreError:
    """Why a source could not be had, in the first line of the error, without anything secret that the source holds."""
    why = next((line for line in str(error).strip().splitlines() if line.strip()), type(error).__name__)
    for secret in sorted(_secrets(source), key=len, reverse=True):
        why = why.replace(secret, HIDDEN)
    return StoreError(f"{described(source)} could not be read: {why.strip()}")


def _secrets(source: str) -> Iterator[str]:
    """What must not be told, however it may be spelt: the source itself, its password, its query string."""
    parts = urlsplit(source)
    told = [source, parts.query, parts.password, *parts.query.split("&")]
    told += [value.partition("=")[2] for value in parts.query.split("&")]
    if parts.scheme in FILE_SCHEMES:
        told.append(parts.username)
    for secret in filter(None, told):
        yield from {secret, unquote(secret), quote(unquote(secret), safe=""), quote_plus(unquote(secret))}
