"""`serve`: answer requests with the model that is in production."""

import json
import os
import shutil
import socket
import ssl
import tempfile
import threading
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.base import params
from mlops.base.errors import ParameterError, StoreError
from mlops.intake import event_store
from mlops.serving import keys

if TYPE_CHECKING:
    from mlops.serving.following import Follower

SHARED = "/dev/shm"  # noqa: S108 – memory that has a name, on Linux


def serve(
    host: Annotated[str, typer.Option(help="Address; one that others can reach needs API keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    version: Annotated[str, typer.Option(help="Serve this version, whatever is in production.")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Serve what was fetched before; ask no registry.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Only fetch what would be served.")] = False,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the registry.")] = 2.0,
    grace: Annotated[int, typer.Option(min=0, help="Seconds for requests that are under way when it ends.")] = 30,
    certificate: Annotated[Path | None, typer.Option(help="PEM file with the TLS certificate.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="PEM file with the key of the certificate.")] = None,
) -> None:
    """Answer requests with the model in production.

    POST /predict takes rows as JSON, and /docs describes them. What is routed where and how much may be asked is in
    params.yaml below serving; API keys are in MLOPS_API_KEYS and MLOPS_ADMIN_KEYS (name:key, with commas between them).

    Raises:
        ParameterError: the address can be reached by others and there is no API key, or a key is short.
        StoreError: the folder of the server cannot be used, the port is taken, or nothing could be fetched.
    """
    settings, register = params.load(params.Serving), params.load(params.Register)
    _check_certificate(certificate, certificate_key)
    known = keys.named(keys.API_KEYS)
    keys.named(keys.ADMIN_KEYS)  # wrong ones are told before anything is started
    if not _is_loopback(host) and not known:
        raise ParameterError(
            f"{host} can be reached by others: set {keys.API_KEYS} (name:key, several with commas between them), or "
            "listen on 127.0.0.1"
        )
    from mlops.serving import following, versions

    # A version that is only tried leaves the log, the counts and what other servers serve alone.
    folder = Path(settings.folder, f"version-{version}" if version and not fetch else "")
    event_store.beside(Path(settings.folder))
    follower = following.Follower(
        folder, settings, register, None if offline else params.load(params.Tracking).uri, version
    )
    versions.write(folder, follower.served)
    if fetch:
        _fetch(follower)
        return
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from mlops.serving import logs, metrics, options

    # Workers count in files that they map into memory: on a disk that is full, to touch one would end the process.
    counters = Path(tempfile.mkdtemp(prefix="mlops-metrics-", dir=SHARED if os.access(SHARED, os.W_OK) else None))
    os.environ[metrics.FOLDER] = str(counters)
    os.environ[options.VARIABLE] = json.dumps(asdict(options.Options(str(folder), workers, os.getpid())))
    config = uvicorn.Config(
        "mlops.serving.app:create",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        access_log=False,
        log_config=logs.CONFIG,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace,
        ssl_certfile=certificate,
        ssl_keyfile=certificate_key,
    )
    stop = threading.Event()
    listening = _bound(host, port)
    parent = Multiprocess(config, sockets=[listening])

    def follow() -> None:
        follower.run(stop, poll)
        parent.should_exit.set()  # a version that was asked for and cannot be had

    try:
        # The registry is asked while the workers import what they need: both take more than a second.
        threading.Thread(target=follow, daemon=True).start()
        place = f"http{'s' if certificate else ''}://{host}:{listening.getsockname()[1]}"
        typer.echo(f"{place} answers as soon as {place}/ready does; {place}/docs says what to ask", err=True)
        parent.run()
        if follower.is_in_vain:
            raise _nothing(follower)
    finally:
        stop.set()
        listening.close()
        shutil.rmtree(counters, ignore_errors=True)


def _fetch(follower: "Follower") -> None:
    follower.look()
    served = follower.served
    if served.champion is None:
        raise _nothing(follower)
    typer.echo(f"version {served.champion.number} of {served.name} is in {served.champion.folder}")


def _nothing(follower: "Follower") -> StoreError:
    served = follower.served
    return StoreError(served.refused.get("champion") or served.store or f"{served.name} has nothing in production")


def _check_certificate(certificate: Path | None, key: Path | None) -> None:
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ParameterError("--certificate and --certificate-key belong together: give both")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # of OpenSSL, too
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(
            f"{certificate} and {key} are no certificate and its key without a password ({reason}): give two PEM files"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Of a socket that names its protocol, asyncio sends small parts at once (TCP_NODELAY).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise StoreError(f"{host} port {port} cannot be had ({error.strerror}): choose another --port") from None
    listening.set_inheritable(True)
    return listening
