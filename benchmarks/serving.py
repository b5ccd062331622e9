"""The model server beside its peers: `python -m benchmarks.serving [--seconds 5]`, or `make bench`.

The same model, rows and client for all: `mlflow models serve` of the same version, and a FastAPI application that does
nothing. Everything of ours is switched on: checks, log, metrics, access log, routing. The client is one process with as
many kept-alive connections as said, on the same cores as the servers, so that ratios count, and not the numbers.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import DVC, ENVIRONMENT, FOLDER, generated
from benchmarks.experiments import run

MODELS = ("logistic_regression", "random_forest", "gradient_boosting", "hist_gradient_boosting")
SLOW = "own"  # an estimator without a fast engine
OWN = "  own:\n    classifier: sklearn.discriminant_analysis.LinearDiscriminantAnalysis\n"
# What a FastAPI application does that does nothing: it reads the body.
NOTHING = """
from fastapi import FastAPI, Request, Response
app = FastAPI()
@app.post("/predict")
async def predict(request: Request):
    await request.body()
    return Response(b'{"predictions": []}', media_type="application/json")
"""


class Load(NamedTuple):
    """What a client saw: requests a second, and the median time of one (milliseconds)."""

    rate: float
    median: float


async def connection(port: int, path: str, body: bytes, until: float, took: list[float]) -> None:
    """Send one request after the other over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    while time.perf_counter() < until:
        start = time.perf_counter()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        lines = answer.lower().split(b"\r\n")
        assert b" 200 " in lines[0], answer  # noqa: S101
        (length,) = (int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        await reader.readexactly(length)
        took.append(time.perf_counter() - start)
    writer.close()


def load(port: int, path: str, body: object, connections: int, seconds: float) -> Load:
    """Ask for some seconds over so many connections at once."""
    content = json.dumps(body).encode()

    async def ask(duration: float) -> list[float]:
        took: list[float] = []
        until = time.perf_counter() + duration
        await asyncio.gather(*(connection(port, path, content, until, took) for _ in range(connections)))
        return took

    asyncio.run(ask(0.5))
    took = asyncio.run(ask(seconds))
    return Load(len(took) / seconds, 1000 * statistics.median(took))


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: list[str], port: int, path: str, project: Path) -> Iterator[tuple[float, int]]:
    """Run a server; gives the seconds until `path` answers, and its process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=project, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    sys.exit(f"{' '.join(command)} ended")
                time.sleep(0.02)
        yield time.perf_counter() - start, process.pid
    finally:
        process.terminate()
        process.wait()


def megabytes(parent: int) -> float:
    """Resident memory of the largest child of a process."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8").split()
    pages = [int(Path(f"/proc/{child}/statm").read_text(encoding="utf-8").split()[1]) for child in children]
    return max(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def with_model(project: Path, name: str) -> str:
    """Train and register another model; the number of its version, or "" if the gate refuses it."""
    text = (project / "params.yaml").read_text(encoding="utf-8")
    lines = [f"  model: {name}" if line.startswith("  model: ") else line for line in text.splitlines()]
    changed = "\n".join(lines) + "\n"
    if name == SLOW and OWN not in changed:
        first = "\n  random_forest:\n    classifier"
        changed = changed.replace(first, f"\n{OWN}{first[1:]}", 1)
    (project / "params.yaml").write_text(changed, encoding="utf-8")
    run(project, *DVC, "repro", "--quiet")
    known = json.loads(run(project, sys.executable, "-m", "mlops", "registry", "show", "--json"))["versions"]
    digest = json.loads((project / "reports" / "registration.json").read_text(encoding="utf-8"))["model_digest"]
    return next((str(each["version"]) for each in known if each["model_digest"] == digest), "")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--models", nargs="+", default=[*MODELS, SLOW])
    options = parser.parse_args()
    project = FOLDER / "serving"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(generated(), project, symlinks=True)
    name = json.loads((project / "reports" / "registration.json").read_text(encoding="utf-8"))["name"]
    heads = ("model", "engine", "ready s", "MB", "1: p50 ms", "8: /s", "64: /s", "mlflow 8: /s", "times")
    table = Table(*heads, title="connections: requests a second")
    (FOLDER / "nothing.py").write_text(NOTHING, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "nothing:app", "--app-dir", str(FOLDER), "--port", str(port)]
    console = Console()
    row = None
    for model in options.models:
        number = with_model(project, model)
        if not number:
            table.add_row(model, "the gate refuses it")
            continue
        if row is None:
            import pandas as pd

            test = pd.read_parquet(project / "data" / "prepared" / "test.parquet").head(1)
            row = json.loads(test.drop(columns=["churn", "customer_id"]).to_json(orient="records"))[0]
            with serving([*command, "--no-access-log"], port, "/docs", project):
                nothing = [load(port, "/predict", {"rows": [row]}, n, options.seconds) for n in (1, 8, 64)]
            table.add_row(
                "FastAPI, nothing", "", "", "", f"{nothing[0].median:.3f}", *(f"{n.rate:,.0f}" for n in nothing[1:])
            )
        port = free_port()
        ours = [sys.executable, "-m", "mlops", "serve", "--version", number, "--port", str(port)]
        with serving(ours, port, "/ready", project) as (ready, process):
            found = [load(port, "/predict", {"rows": [row]}, n, options.seconds) for n in (1, 8, 64)]
            memory = megabytes(process)
            said = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/version"))
        port = free_port()
        theirs = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{name}/{number}"]
        ENVIRONMENT["MLFLOW_TRACKING_URI"] = f"sqlite:///{project}/mlflow.db"
        with serving([*theirs, "--env-manager", "local", "--port", str(port)], port, "/ping", project):
            peer = load(port, "/invocations", {"inputs": [row]}, 8, options.seconds)
        del ENVIRONMENT["MLFLOW_TRACKING_URI"]
        table.add_row(
            model,
            said["champion"]["engine"],
            f"{ready:.1f}",
            f"{memory:.0f}",
            f"{found[0].median:.3f} ({found[0].median / nothing[0].median:.2f}×)",
            f"{found[1].rate:,.0f}",
            f"{found[2].rate:,.0f} ({found[2].rate / found[1].rate:.2f}×)",
            f"{peer.rate:,.0f}",
            f"{found[1].rate / peer.rate:.0f}×",
        )
    console.print(table)


if __name__ == "__main__":
    main()
