"""The model server beside `mlflow models serve`, BentoML, and a FastAPI application that does nothing."""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import (
    DVC,
    ENVIRONMENT,
    FOLDER,
    OPS,
    PROJECT,
    NotToBeHadError,
    Row,
    copied,
    environment,
    locked,
    run,
    say,
)  # fmt: skip

TITLE = "The model server"
PACKAGES = ("fastapi", "uvicorn", "mlflow", "scikit-learn")
MODELS = ("logistic_regression", "random_forest", "gradient_boosting", "hist_gradient_boosting")
SLOW = "own"  # an estimator without a fast engine
OWN = "  own:\n    classifier: sklearn.discriminant_analysis.LinearDiscriminantAnalysis\n"
ABOUT = """
One row of the example in each request, over 1, 8 and 64 connections that are kept, from a client of one process on
the same cores as the servers: so ratios count, and not the numbers. One worker each. Everything of ours is switched
on: checks of the row, log of predictions, metrics, access log, routing. `mlflow models serve` serves the same
version. BentoML serves the same scikit-learn pipeline, as its manual begins: a class with a method that makes a data
frame of the rows. The application that does nothing is FastAPI that reads the body. `own` is an estimator for which
we have no fast engine, so that scikit-learn itself answers.

**What they do that we do not:** MLflow serves any of its flavours, deep learning and language models included, and
deploys to SageMaker, Azure ML and Kubernetes. BentoML chains several models with a scale and hardware of their own,
batches requests as they come for GPUs, streams, makes images, and has a hosted platform.
"""
# What a FastAPI application does that does nothing: it reads the body.
NOTHING = """
from fastapi import FastAPI, Request, Response
app = FastAPI()
@app.post("/predict")
async def predict(request: Request):
    await request.body()
    return Response(b'{"predictions": []}', media_type="application/json")
"""
BENTO = """
import bentoml, joblib, pandas as pd
@bentoml.service(workers=1, traffic={"timeout": 60}, metrics={"enabled": True})
class Churn:
    def __init__(self):
        self.model, self.types = joblib.load("bento.joblib")
    @bentoml.api
    def predict(self, rows: list[dict]) -> list[str]:
        return self.model.predict(pd.DataFrame(rows).astype(self.types)).tolist()
"""
# The pipeline and the types of its columns, without what is ours around it.
EXPORT = """
import joblib, pandas as pd
from mlops.base import model_files
from pathlib import Path
model = model_files.read(Path("models/model.joblib"))
test = pd.read_parquet("data/prepared/test.parquet")
joblib.dump((model.pipeline, dict(test[model.schema.inputs].dtypes)), "bento.joblib")
"""


class Load(NamedTuple):
    """What a client saw: requests a second, and the median time of one; and what one took of the processor (ms)."""

    rate: float
    median: float
    processor: float


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


def load(server: int, port: int, path: str, body: object, connections: int, seconds: float) -> Load:
    """Ask the server with that process for some seconds over so many connections at once."""
    content = json.dumps(body).encode()

    async def ask(duration: float) -> list[float]:
        took: list[float] = []
        until = time.perf_counter() + duration
        await asyncio.gather(*(connection(port, path, content, until, took) for _ in range(connections)))
        return took

    asyncio.run(ask(0.5))
    before = processor_seconds(server)
    took = asyncio.run(ask(seconds))
    spent = processor_seconds(server) - before
    return Load(len(took) / seconds, 1000 * statistics.median(took), 1000 * spent / len(took))


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: list[str], port: int, path: str, project: Path, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[float, int]]:
    """Run a server; gives the seconds until `path` answers, and its process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=project, env=ENVIRONMENT | (settings or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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


def started_by(parent: int) -> list[str]:
    """The processes that a process has started, and that still run."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text(encoding="utf-8").split()]


def processor_seconds(process: int) -> float:
    """Processor time of a running process and of all below it."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for child in started_by(process))


def megabytes(parent: int) -> float:
    """Resident memory of the largest child of a process."""
    children = started_by(parent)
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
    known = json.loads(run(project, *OPS, "registry", "show", "--json"))["versions"]
    digest = json.loads((project / "reports" / "registration.json").read_text(encoding="utf-8"))["model_digest"]
    return next((str(each["version"]) for each in known if each["model_digest"] == digest), "")


def measure(options: Namespace) -> list[Row]:
    """Each shipped model, and one without a fast engine."""
    project, seconds = copied("serving"), options.seconds
    name = json.loads((project / "reports" / "registration.json").read_text(encoding="utf-8"))["name"]
    row = json.loads(run(project, sys.executable, "-c", ROW))
    (FOLDER / "nothing.py").write_text(NOTHING, encoding="utf-8")
    (project / "bento.py").write_text(BENTO, encoding="utf-8")
    needed = ("scikit-learn", "pandas", "pyarrow", "joblib", "pydantic", "ruamel-yaml", "rich", "typer")
    try:
        bento, refused = environment("BentoML", "bentoml", *locked(*needed)), ""
    except NotToBeHadError as error:
        bento, refused = "", str(error)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "nothing:app", "--app-dir", str(FOLDER), "--port", str(port)]
    with serving([*command, "--no-access-log"], port, "/docs", project) as (_, server):
        nothing = load(server, port, "/predict", {"rows": [row]}, 1, seconds)
    found = []
    for model in (*MODELS, SLOW):
        say(f"serving: {model}")
        number = with_model(project, model)
        if not number:
            say(f"the gate refuses {model}, so that it is not measured")
            continue
        port = free_port()
        mine = [*OPS, "serve", "--version", number, "--port", str(port)]
        with serving(mine, port, "/ready", project) as (ready, server):
            one, eight, many = (load(server, port, "/predict", {"rows": [row]}, n, seconds) for n in (1, 8, 64))
            memory = megabytes(server)
        port = free_port()
        theirs = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{name}/{number}"]
        theirs += ["--env-manager", "local", "--port", str(port)]
        settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
        with serving(theirs, port, "/ping", project, settings) as (_, server):
            peer = load(server, port, "/invocations", {"inputs": [row]}, 8, seconds)
        rate, time_of_one = "requests a second over 8 connections", "ms of processor time a request"
        found += [
            Row(model, rate, eight.rate, "MLflow", peer.rate, least=10 if model == SLOW else 50),
            Row(model, time_of_one, eight.processor, "MLflow", peer.processor),
        ]
        if bento:
            run(project, sys.executable, "-c", EXPORT)
            port = free_port()
            theirs = [bento, "-m", "bentoml", "serve", "bento:Churn", "--port", str(port), "--host", "127.0.0.1"]
            settings = {"PYTHONPATH": str(PROJECT), "BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(FOLDER / "bento")}
            with serving(theirs, port, "/readyz", project, settings) as (_, server):
                peer = load(server, port, "/predict", {"rows": [row]}, 8, seconds)
            found += [
                Row(model, rate, eight.rate, "BentoML", peer.rate),
                Row(model, time_of_one, eight.processor, "BentoML", peer.processor),
            ]
        else:
            found.append(Row(model, rate, eight.rate, "BentoML", note=refused))
        most = None if model == SLOW else 2.0
        found += [
            Row(model, "ms, median over 1 connection", one.median, "FastAPI that does nothing", nothing.median, most),
            Row(model, "requests a second over 64 connections", many.rate, "ours over 8", eight.rate, least=0.9),
            Row(model, "s until it is ready", ready, most=3),
            Row(model, "MB of a worker", memory, most=400),
        ]
    return found


# A row as a client sends it.
ROW = """
import pandas as pd
test = pd.read_parquet("data/prepared/test.parquet").head(1)
print(test.drop(columns=["churn", "customer_id"]).to_json(orient="records")[1:-1])
"""
