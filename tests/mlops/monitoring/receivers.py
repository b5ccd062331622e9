"""Local servers that take alerts: a web server, an issue tracker like GitHub or GitLab, and a mail server."""

import base64
import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, Any]


@dataclass
class Web:
    """A web server; `answer` gets method, path and content of a request, and gives the code and the JSON to answer."""

    url: str = ""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[str, str, Any], Answer] = lambda *_: (200, "ok")


@contextmanager
def web() -> Iterator[Web]:
    """A running web server."""
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = (self.command, self.path, json.loads(text) if text else None)
            state.requests.append(asked)
            state.headers.append(dict(self.headers))
            code, content = state.answer(*asked)
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", content)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_PUT = do_PATCH = do_POST  # noqa: N815 – the names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        state.url = f"http://127.0.0.1:{port}"
        yield state


@dataclass
class Tracker:
    """The issues of a platform, kept as GitHub or GitLab keeps them."""

    gitlab: bool
    issues: list[dict[str, Any]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str, content: Any) -> Answer:
        """What the platform does with a request."""
        place, _, query = path.partition("?")
        *_, last = place.rstrip("/").split("/")
        number, state = ("iid", "opened") if self.gitlab else ("number", "open")
        if method == "GET":
            asked = dict(pair.split("=") for pair in query.split("&"))
            return 200, [each for each in self.issues if each["state"] == asked["state"] == state]
        if last == "labels":
            is_new = content["name"] not in self.labels
            self.labels.add(content["name"])
            return (201, content) if is_new else (422, {})
        if last in ("comments", "notes"):
            self.comments.append(content["body"])
            return 201, {}
        if last == "issues":
            names = content["labels"].split(",") if self.gitlab else content["labels"]
            kept = [name for name in names if self.gitlab or name in self.labels]  # GitHub drops what it does not know
            labels = kept if self.gitlab else [{"name": name} for name in kept]
            self.issues.append({**content, "labels": labels, number: len(self.issues) + 1, "state": state})
            return 201, self.issues[-1]
        [issue] = [each for each in self.issues if each[number] == int(last)]
        closing = {"state_event": "close"} if self.gitlab else {"state": "closed"}
        issue |= {"state": "closed"} if content == closing else content
        return 200, issue


@dataclass
class Mail:
    """A mail server, with what it was told; `refusals` are answers to the next recipients."""

    port: int = 0
    messages: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


@contextmanager
def mail(certificate: Path | None = None) -> Iterator[Mail]:
    """A running mail server; with a certificate (and key) it offers STARTTLS."""
    state = Mail()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            secure = False
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "EHLO":
                    offers = ["AUTH PLAIN", *(["STARTTLS"] if certificate and not secure else [])]
                    self.wfile.write("".join(f"250-{each}\r\n" for each in ("here", *offers)).encode())
                    self.say("250 8BITMIME")
                elif verb == "STARTTLS":
                    self.say("220 go")
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(str(certificate))
                    self.connection = context.wrap_socket(self.connection, server_side=True)
                    self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                    secure = True
                elif verb == "AUTH":
                    state.logins.append(base64.b64decode(line.split()[2]).decode())
                    self.say("235 ok")
                elif verb == "RCPT" and state.refusals:
                    self.say(state.refusals.pop(0))
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    state.messages.append(b"".join(lines).decode())
                    state.encrypted.append(secure)
                    self.say("250 ok")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    with _running(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        state.port = port
        yield state


@contextmanager
def _running(server: socketserver.TCPServer) -> Iterator[int]:
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def certificate(path: Path) -> Path:
    """A certificate for localhost, signed by itself, with its key in the same file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(pem))
    return path
