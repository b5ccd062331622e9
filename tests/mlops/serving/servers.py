"""A small HTTP server in a thread, which answers as it is told and remembers what it was asked."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mlops.serving import client

# Status, content (JSON unless it is bytes) and headers; None cuts the connection off without an answer.
Answer = tuple[int, Any, dict[str, str]] | None


@dataclass
class Asked:
    """A request: its method, path, headers and JSON, and the port from which it came."""

    method: str
    path: str
    headers: dict[str, str]
    content: Any
    port: int


@dataclass
class Server:
    """Where the server is, what it was asked, and what it answers before `answer` is called."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    script: list[Answer] = field(default_factory=list)


@contextmanager
def running(answer: Callable[[Asked], Answer]) -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, json.loads(body or b"null"), self.client_address[1])
            server.asked.append(asked)
            given = server.script.pop(0) if server.script else answer(asked)
            if given is None:
                self.close_connection = True
                return
            status, content, more = given
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**more, "content-length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_port}"
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def in_project(folder: Path, schema: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with this schema, where a client does not pause before it tries again."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(client, "PAUSES", (0.0, 0.0))
    (folder / "schema.yaml").write_text(schema, encoding="utf-8")
    return folder
