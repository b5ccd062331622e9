"""Sources: files, web servers and databases are fetched, and described without secrets."""

import gzip
import http.server
import io
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from mlops.base.errors import DataError, ParameterError, ProjectError, StoreError
from mlops.intake import deliveries, sources

ROWS = "size,level\n1,a\n2,b\n"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


class Pages(http.server.BaseHTTPRequestHandler):
    """A few answers of web servers, good and bad."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        table = io.BytesIO()
        pd.DataFrame({"size": [1, 2]}).to_parquet(table)
        bodies = {
            "/rows.csv": ROWS.encode(),
            "/export": ROWS.encode(),
            "/packed": gzip.compress(ROWS.encode()),
            "/table.csv": table.getvalue(),
            "/bomb.csv": gzip.compress(ROWS.encode() * 10_000),
            "/login": b"<!DOCTYPE html><title>Log in</title>",
            "/cut.csv": ROWS.encode(),
            "/a%20b/%C3%BC.csv": ROWS.encode(),
        }
        if path == "/circle.csv":
            self.answer(302, b"", Location=self.path)
        elif path == "/private.csv" and self.headers["Authorization"] != "Basic bWU6cEBzcw==":  # me:p@ss
            self.answer(401, b"")
        elif path == "/private.csv":
            self.answer(200, ROWS.encode())
        elif path in bodies:
            packed = {"Content-Encoding": "gzip"} if path == "/bomb.csv" else {}
            self.answer(200, bodies[path], longer=100 if path == "/cut.csv" else 0, **packed)
        else:
            self.answer(404, b"no such page")

    def answer(self, status: int, body: bytes, longer: int = 0, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + longer))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rows.csv", "rows.csv"),
        ("export?format=csv&token=abc", "export.csv"),
        ("packed", "packed.csv.gz"),
        ("table.csv", "table.parquet"),
        ("a%20b/%C3%BC.csv", "ü.csv"),
    ],
)
def test_the_content_of_a_download_decides_its_kind(web: str, inbox: Path, address: str, name: str) -> None:
    path = sources.fetch(f"http://{web}/{address}", None, inbox)

    assert [path.name] == [file.name for file in inbox.iterdir()] == [name]
    assert pd.concat(deliveries.batches(path))["size"].astype("int64").tolist() == [1, 2]


def test_a_user_and_a_password_in_an_address_are_sent(web: str, inbox: Path) -> None:
    path = sources.fetch(f"http://me:p%40ss@{web}/private.csv", None, inbox)

    assert path.read_text() == ROWS


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("gone.csv", "there is nothing of that name"),
        ("circle.csv", "it redirects in circles"),
        ("cut.csv", "the download broke off"),
        ("login", "is a web page"),
        ("private.csv", "401"),
    ],
)
def test_an_error_of_a_web_server_is_one_sentence_without_the_password(
    web: str, inbox: Path, address: str, sentence: str
) -> None:
    with pytest.raises(ProjectError, match=sentence) as raised:
        sources.fetch(f"http://me:s3cr%40t@{web}/{address}?sig=S1GN4TURE", None, inbox)

    text = str(raised.value)
    assert f"http://{web}/{address}" in text
    assert not any(secret in text for secret in ("s3cr", "S1GN4TURE", "\n"))
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(("address", "limit"), [("bomb.csv", 10_000), ("rows.csv", len(ROWS) - 1)])
def test_a_download_has_a_limit_also_when_it_is_unpacked(
    web: str, inbox: Path, monkeypatch: pytest.MonkeyPatch, address: str, limit: int
) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", limit)

    with pytest.raises(StoreError, match=rf"{address} has more than .* GB, the limit of a download"):
        sources.fetch(f"http://{web}/{address}", None, inbox)

    monkeypatch.setattr(sources, "MOST_BYTES", len(ROWS) * 10_000)
    assert sources.fetch(f"http://{web}/{address}", None, inbox).name == address


def test_an_absent_server_is_one_sentence(inbox: Path) -> None:
    with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:1/rows\.csv could not be read: Cannot connect"):
        sources.fetch("http://127.0.0.1:1/rows.csv", None, inbox)


@pytest.mark.parametrize("sign", ["%40", "/", "#", "?", ":", "@", "%25", "+", "ü", "@x/"])
def test_a_password_with_any_sign_is_hidden(sign: str, inbox: Path) -> None:
    for scheme in ("postgresql", "mysql+nodriver", "nosuch", "http", "s3"):
        source = f"{scheme}://bob:s3cr{sign}tt@127.0.0.1:1/db.csv"
        query = None if scheme in sources.FILE_SCHEMES else "SELECT 1"
        text = sources.described(source, query)
        if scheme != "s3":  # which would look for credentials
            with pytest.raises(ProjectError) as raised:
                sources.fetch(source, query, inbox)
            text += str(raised.value)

        assert not any(part in text for part in ("s3cr", "tt@", "bob"))


def test_secret_parameters_are_removed_and_others_kept() -> None:
    address = "https://host/rows.csv?month=3&X-Amz-Signature=abc&access_token=def&pass%77ord=ghi&sv=1#jkl"

    assert sources.described(address) == "https://host/rows.csv?month=3&sv=1"
    assert sources.described("postgresql://h/db?sslmode=require&password=x") == "postgresql://h/db?sslmode=require"


def test_quoted_texts_in_a_query_are_hidden() -> None:
    text = sources.described("sqlite:///shop.db", "SELECT *\n  FROM t WHERE name = 'Eve' AND key = 'k3y' LIMIT 5")

    assert text == "sqlite:///shop.db: SELECT * FROM t WHERE name = *** LIMIT 5"


@pytest.fixture
def shop(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE t (id INTEGER, amount, mixed, day TEXT, empty)")
        rows = [(2**60 + i, None if i < 6 else i, i if i < 6 else f"x{i}", "2026-01-02", None) for i in range(10)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    return f"sqlite:///{tmp_path / 'shop.db'}"


def test_a_result_in_parts_gets_types_that_hold_all_values(
    shop: str, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ROWS", 3)

    path = sources.fetch(shop, "SELECT * FROM t ORDER BY id", inbox)
    table = pd.concat(deliveries.batches(path))

    assert [path] == list(inbox.iterdir())
    assert table.dtypes.astype(str).tolist() == ["Int64", "Int64", "str", "str", "str"]
    assert table["id"].tolist() == [2**60 + i for i in range(10)]
    assert table["amount"].dropna().tolist() == [6, 7, 8, 9]
    assert table["mixed"].tolist() == ["0", "1", "2", "3", "4", "5", "x6", "x7", "x8", "x9"]
    assert table["empty"].isna().all()


def test_a_query_is_sent_as_it_is(shop: str, inbox: Path) -> None:
    query = r"SELECT ':a' AS a, '%' AS b, '%s' AS c, '\:d' AS d, '12:30:00' AS e FROM t WHERE mixed LIKE 'x%'"

    rows = next(deliveries.batches(sources.fetch(shop, query, inbox)))

    assert rows.iloc[0].tolist() == [":a", "%", "%s", r"\:d", "12:30:00"]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM t",
        "DROP TABLE t",
        "INSERT INTO t (id) VALUES (1) RETURNING id",
        "ATTACH 'new.db' AS new",
        "VACUUM INTO 'new.db'",
        "CREATE TEMP TABLE new AS SELECT 1 AS a",
        "PRAGMA journal_mode = WAL",
        "SELECT load_extension('new')",
    ],
)
def test_a_query_can_change_nothing(shop: str, inbox: Path, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    monkeypatch.chdir(inbox.parent)
    before = sorted(Path(shop.removeprefix("sqlite:///")).parent.iterdir())

    with pytest.raises(ParameterError, match="does more than read rows"):
        sources.fetch(shop, query, inbox)

    assert sorted(Path(shop.removeprefix("sqlite:///")).parent.iterdir()) == before
    with sqlite3.connect(shop.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (10,)


@pytest.mark.parametrize(
    ("query", "error", "sentence"),
    [
        ("SELECT * FROM nowhere", StoreError, "shop.db could not be read: no such table: nowhere"),
        ("SELECT id, id FROM t", DataError, r"two columns of the same name \(id\)"),
        ("SELECT * FROM t WHERE id = 0", DataError, "gives no row"),
        (None, ParameterError, "say with --query"),
    ],
)
def test_a_query_without_a_result_is_one_sentence(
    shop: str, inbox: Path, query: str | None, error: type[ProjectError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        sources.fetch(shop, query, inbox)


def test_an_absent_database_is_not_created(tmp_path: Path, inbox: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.db is no file"):
        sources.fetch(f"sqlite:///{tmp_path / 'gone.db'}", "SELECT 1", inbox)

    assert not (tmp_path / "gone.db").exists()


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "a%20b.db", "ü{x}'.db"])
def test_a_database_is_found_at_any_path_and_nothing_is_laid_beside_it(shop: str, inbox: Path, name: str) -> None:
    path = inbox.parent / "place" / name
    path.parent.mkdir()
    Path(shop.removeprefix("sqlite:///")).rename(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()

    for address in (
        f"sqlite:///{path}",
        f"sqlite:///file:{quote(str(path))}?mode=rwc&uri=true",
        f"sqlite:///{quote(str(path))}",
    ):
        sources.fetch(address, "SELECT id FROM t", inbox).unlink()

    assert [file.name for file in path.parent.iterdir()] == [name]
    with pytest.raises(StoreError, match="is no file"):
        sources.fetch(f"sqlite:///file:{path.with_name('new.db')}?mode=rwc&uri=true", "SELECT 1", inbox)


def test_a_driver_that_is_not_installed_is_named(inbox: Path) -> None:
    with pytest.raises(StoreError, match=r"mysql://h/db needs the driver MySQLdb"):
        sources.fetch("mysql://me:pw@h/db", "SELECT 1", inbox)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("loans.csv.gz", "loans"), ("v1.5_data.CSV", "v1.5_data"), ("../x y/ü", "x-y-ü"), (".csv", "delivery")],
)
def test_a_stem_is_a_file_name_without_ending_and_blanks(name: str, stem: str) -> None:
    assert sources.stem(name) == stem
