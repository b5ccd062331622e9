"""The HTTP side of a worker: what is asked, by whom, and what is answered."""

import asyncio
import gc
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mlops.base import params, yaml
from mlops.base.errors import ParameterError, StoreError
from mlops.base.params import Serving
from mlops.serving import bulk, docs_page, inference_protocol, keys, openapi, request, routing
from mlops.serving.access import Access, Endpoint, answer
from mlops.serving.metrics import Metrics
from mlops.serving.options import VARIABLE, Options
from mlops.serving.request import JSON, RequestError
from mlops.serving.versions import Copy
from mlops.serving.worker import Loaded, UnavailableError, Worker

# Of what is asked without a body.
PLAIN = {"responses": {"200": {"description": "The answer."}, "503": {"description": "There is no model."}}}
ROUTING = ("route", "share", "key", "steps", "slow_ms", *routing.JUDGING)
LONGEST_REASON = 500  # characters; it goes into the audit log
TABLE_ROWS = 100  # times max_rows, in one Arrow or Parquet body
TABLE_BYTES = 100_000_000  # of a table in memory
NUMBER = re.compile("[0-9]{0,9}")  # of a version
LARGE = 200_000  # bytes of a body that takes milliseconds to read: others are answered meanwhile


def create() -> Access:
    """The application of a worker; the environment variable MLOPS_SERVER has its options as JSON."""
    options = Options(**json.loads(os.environ[VARIABLE]))
    settings = params.load(params.Serving)
    metrics = Metrics()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a line is seen when its request is over
    folder = Path(options.folder)
    worker = Worker(folder, settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await worker.start()
        # What is loaded lives as long as the process: Python's garbage collector need not visit it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        orphaned = asyncio.create_task(_end_with(options.parent))
        yield
        orphaned.cancel()
        await worker.close()

    # FastAPI's own pages load their scripts from the web.
    app = FastAPI(title=params.load(params.Register).name, lifespan=lifespan, redoc_url=None, docs_url=None)
    with_keys = bool(keys.named(keys.API_KEYS))

    @lru_cache(1)  # anybody may ask for it, and it takes a while
    def description(_: Copy | None) -> dict[str, Any]:
        return _description(app, worker, with_keys=with_keys)

    app.openapi = lambda: description(worker.champion and worker.champion.copy)  # type: ignore[method-assign]
    endpoints = _add_endpoints(app, worker, settings)
    straight = {key: endpoints[key] for key in (("POST", "/predict"), ("POST", "/feedback"))}
    return Access(app, straight, metrics, settings.rate_limit / options.workers)


def _add_endpoints(app: FastAPI, worker: Worker, settings: Serving) -> dict[tuple[str, str], Endpoint]:
    """Add all endpoints to an application; returns them by method and path."""
    most = int(settings.body_megabytes * 1_000_000)
    media_type = lru_cache(64)(request.media_type)

    async def body(asked: Request) -> bytes:
        """The body of a request, read as long as it is not too large or too slow."""
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(settings.timeout_seconds):
                while more:  # without the framework's stream, which takes longer than to read most bodies
                    message = await asked.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    part, more = message.get("body", b""), message.get("more_body", False)
                    size += len(part)
                    if size > most:
                        raise RequestError(413, f"the body is larger than {settings.body_megabytes:g} MB: send less")
                    parts.append(part)
        except TimeoutError:
            raise RequestError(408, "the body did not arrive in time: send it faster, or in parts") from None
        return b"".join(parts)

    def refusing(endpoint: Endpoint) -> Endpoint:
        """The endpoint with its refusals as responses."""

        async def guarded(asked: Request) -> Response:
            try:
                return await endpoint(asked)
            except RequestError as refused:
                response = answer({"detail": refused.detail}, refused.status)
                if refused.status in (408, 413):
                    response.headers["connection"] = "close"  # the rest of the body is not read
                return response
            except (UnavailableError, StoreError) as error:
                return answer({"detail": str(error)}, 503)

        return guarded

    async def predict(asked: Request) -> Response:
        kind = media_type(asked.scope["content_type"], (JSON, request.ARROW, request.PARQUET))
        champion, content = current(asked), await body(asked)
        if kind != JSON:
            table = await worker.in_thread(bulk.table, content, kind, champion.reader, TABLE_BYTES)
            if len(table) > TABLE_ROWS * settings.max_rows:
                most = TABLE_ROWS * settings.max_rows
                raise RequestError(413, f"the table has {len(table)} rows, and {most} are the most: send several")
            answers = await worker.bulk(table, asked.scope["identity"])
            return Response(bulk.bulk_answer(answers, kind), media_type=kind)
        reader = champion.reader
        given = await worker.in_other(reader.body, content) if len(content) > LARGE else reader.body(content)
        found = await worker.answers(given.rows, asked.scope["identity"])
        return answer(found[0] if given.single else {"predictions": found})

    async def infer(asked: Request) -> Response:
        media_type(asked.scope["content_type"])
        champion, content = current(asked), await body(asked)
        given = inference_protocol.inference(content, champion.reader)
        found = await worker.answers(given.rows, asked.scope["identity"])
        name, number = asked.path_params["name"], champion.copy.number
        return answer(inference_protocol.answer(found, name, number, given, champion.classes))

    async def model(asked: Request) -> Response:
        champion = current(asked)
        known = champion.engine.model.model.pipeline
        name, numbers = asked.path_params["name"], [champion.copy.number]
        probable = hasattr(known, "predict_proba")
        return answer(inference_protocol.metadata(champion.schema, name, numbers, champion.classes, known=probable))

    def current(asked: Request) -> Loaded:
        """The champion; the name in the path of the Open Inference Protocol has to be the model's."""
        if worker.champion is None or worker.served is None:
            raise UnavailableError(worker.why_not())
        if asked.path_params.get("name", worker.served.name) != worker.served.name:
            raise RequestError(404, f"the model is called {worker.served.name}")
        return worker.champion

    async def feedback(asked: Request) -> Response:
        media_type(asked.scope["content_type"])
        champion, content = current(asked), await body(asked)
        given = champion.reader.feedback(content, champion.classes)
        if not worker.feedback(given):
            return answer({"detail": "the feedback could not be written: try again later"}, 503)
        return answer({"accepted": len(given)})

    async def health(asked: Request) -> Response:
        number = worker.champion and worker.champion.copy.number
        status = "ok" if number else "no model"
        return answer({"status": status, "model_version": number, "predictions": await worker.predictions()})

    async def ready(asked: Request) -> Response:
        if worker.champion is None or not (worker.served and worker.served.checked):
            return answer({"status": "not ready", "reason": worker.why_not()}, 503)
        store = worker.served.store
        try:
            events = await worker.events()
        except (UnavailableError, StoreError) as error:
            return answer({"status": "not ready", "reason": str(error)}, 503)
        found = {"status": "ready", "store": f"running on the last good model: {store}" if store else "reachable"}
        return answer(found | ({"events": events} if events else {}))

    async def version(asked: Request) -> Response:
        return answer(worker.described())

    async def metrics(asked: Request) -> Response:
        return Response(await worker.metrics_page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @lru_cache(1)
    def page(_: Copy | None) -> str:
        return docs_page.page(app.openapi())

    async def docs(asked: Request) -> Response:
        html = await worker.in_other(page, worker.champion and worker.champion.copy)
        return Response(html, media_type="text/html", headers=docs_page.HEADERS)

    async def routes(asked: Request) -> Response:
        return answer(await worker.routes())

    async def change_route(asked: Request) -> Response:
        media_type(asked.scope["content_type"])
        try:
            changed, reason, challenger = _wanted(request.parsed(await body(asked)), settings)
            new = await worker.change_route(changed, asked.scope["who"], reason, challenger)
        except ParameterError as error:
            return answer({"detail": str(error)}, 422)
        except StoreError as error:
            return answer({"detail": str(error)}, 409)
        return answer({"route": routing.as_dict(new), "described": routing.described(new, new.champion)})

    endpoints: dict[tuple[str, str], Endpoint] = {}
    for path, endpoint, method, described in (
        ("/predict", predict, "POST", openapi.PREDICT),
        ("/feedback", feedback, "POST", openapi.FEEDBACK),
        ("/health", health, "GET", PLAIN),
        ("/ready", ready, "GET", PLAIN),
        ("/version", version, "GET", PLAIN),
        ("/metrics", metrics, "GET", None),
        ("/docs", docs, "GET", None),
        ("/admin/route", routes, "GET", None),
        ("/admin/route", change_route, "POST", None),
        ("/v2/health/live", health, "GET", PLAIN),
        ("/v2/health/ready", ready, "GET", PLAIN),
        ("/v2/models/{name}", model, "GET", None),
        ("/v2/models/{name}/ready", ready, "GET", None),
        ("/v2/models/{name}/infer", infer, "POST", openapi.INFERENCE),
    ):
        endpoints[method, path] = refusing(endpoint)
        app.add_api_route(
            path,
            endpoints[method, path],
            methods=[method],
            name=endpoint.__name__,
            response_model=None,
            openapi_extra=described,
            include_in_schema=described is not None,
        )
    return endpoints


def _description(app: FastAPI, worker: Worker, *, with_keys: bool) -> dict[str, Any]:
    """What OpenAPI says of the server now: its champion's columns."""
    from fastapi.openapi.utils import get_openapi

    served, champion = worker.served, worker.champion
    version = champion.copy.number if champion else "none"
    found = get_openapi(title=app.title, version=version, routes=app.routes)
    components: dict[str, Any] = {}
    if champion and served:
        known = hasattr(champion.engine.model.model.pipeline, "predict_proba")
        most = worker.settings.max_rows
        components["schemas"] = openapi.components(champion.schema, champion.classes, most, None, known=known)
        # The name in the path is this model's, and no other.
        found["paths"] = {path.replace("{name}", served.name): each for path, each in found["paths"].items()}
        for operation in (each for path in found["paths"].values() for each in path.values()):
            operation.pop("parameters", None)
    if with_keys:
        components["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": keys.HEADER}}
        found["security"] = [{"key": []}]
    return found | {"components": components}


def _wanted(found: Any, settings: Serving) -> tuple[Serving, str, str]:
    """The settings with the routing that is asked for, the reason, and the challenger's number ("" if not given).

    Raises:
        ParameterError: a name is unknown, a value out of range, or there is no reason.
    """
    if not isinstance(found, dict) or not isinstance(found.get("reason"), str) or not found["reason"].strip():
        raise ParameterError('the body has to be an object with route and reason: {"route": "canary", "reason": …}')
    if len(found["reason"]) > LONGEST_REASON or not found["reason"].isprintable():
        raise ParameterError(f"reason has to be one line of at most {LONGEST_REASON} characters")
    if unknown := found.keys() - {*ROUTING, "reason", "challenger"}:
        raise ParameterError(
            f"{len(unknown)} names in the body are unknown: known are reason, challenger, {', '.join(ROUTING)}"
        )
    if not isinstance(found.get("challenger", ""), str) or not NUMBER.fullmatch(found.get("challenger", "")):
        raise ParameterError('challenger has to be the number of a version, as a text: "4"')
    wanted = {**settings.model_dump(), **{name: found[name] for name in ROUTING if name in found}}
    return (
        yaml.validate(Serving, wanted, "the body", ParameterError),
        found["reason"].strip(),
        found.get("challenger", ""),
    )


async def _end_with(parent: int) -> None:
    """End this worker when its parent process is gone, which nobody could restart it for."""
    while os.getppid() == parent:
        await asyncio.sleep(1)
    signal.raise_signal(signal.SIGTERM)
