"""MLflow, the one module that imports it: a run per distinct result, and at most one version per model.

Whoever calls `record` for the same result, however often and from however many processes, finds it there once.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops.base import params
from mlops.base.errors import StoreError
from mlops.registry import backend

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    Client: TypeAlias = MlflowClient

KEY = "result"
MODEL_DIGEST = "model_digest"
TAKEN_BACK = "taken_back"
MODEL = "models:/"  # how MLflow begins the address of a model that it keeps, before its id
CHALLENGER, CHAMPION = "challenger", "champion"
# What a version says of itself, besides its digests; its run has the rest.
ON_VERSION = ("author", "user", "commit", "experiment", "model_type")


@dataclass(frozen=True)
class Result:
    """What is recorded of one result.

    `digests` (model, data, params, code; SHA-256) are its identity. `columns` are the model's inputs with their MLflow
    types, `example` a row of them. `artifacts` are files to keep with the run, `verdict` is the gate's, in a word, and
    `description` (Markdown) is shown with the version.
    """

    name: str
    digests: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    model: Path
    columns: Mapping[str, str]
    requirements: Sequence[str]
    artifacts: Sequence[Path]
    verdict: str = ""
    description: str = ""
    example: "pd.DataFrame | None" = None

    @property
    def key(self) -> str:
        """One word for all digests, to look a run up by."""
        return "-".join(f"{kind}:{digest[:16]}" for kind, digest in sorted(self.digests.items()))


@dataclass(frozen=True)
class Entry:
    """Where a result stands in the registry; `version` is None if its model was not registered."""

    run_id: str
    version: str | None
    new: bool


@dataclass(frozen=True)
class Version:
    """A version of the model: its number, what points to it, when it was made (UTC), and what is known of it."""

    number: str
    aliases: tuple[str, ...]
    created: str
    run_id: str
    source: str
    tags: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: version, aliases, digests and the rest."""
        return {
            "version": self.number,
            "aliases": list(self.aliases),
            "created": self.created,
            "run_id": self.run_id,
            **dict(self.tags),
        }


def record(result: Result, register: bool, uri: str, experiment: str) -> Entry:
    """Find the run of `result`, or make it; with `register`, likewise the version of its model.

    A result that came again is the run it was, unless it came as another DVC experiment, which has a run of its own.

    Processes that share a SQLite store take turns. On a server, one that finds the same made meanwhile takes its own
    back.

    Raises:
        StoreError: the store cannot be reached or refuses; a run that was begun is deleted then.
    """
    with opened(uri) as client:
        home = _experiment(client, experiment, backend.address(uri))
        if backend.database(backend.address(uri)):
            _delete_cut_off(client, home, result)
        found = _runs(client, home, result)
        run_id = found[0] if found else _new_run(client, home, result)
        version = _version(client, run_id, result) if register else None
        registered = _registered(client, result.name, result.digests["model"])
        client.set_tag(run_id, "registered", str(bool(registered)).lower())
        return Entry(run_id, version, new=not found)


@contextmanager
def opened(uri: str) -> Iterator["Client"]:
    """MLflow's client of the store at `uri` or where else `backend.address` says; of SQLite, while no other has it.

    Raises:
        StoreError: the store cannot be reached or refuses.
    """
    address = backend.address(uri)
    with backend.errors_as_sentences(address), backend.exclusive(address):
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.ERROR)  # its remarks are about how it works, not about the result
        _prepare_sqlite(address)
        mlflow.set_tracking_uri(address)
        yield mlflow.MlflowClient()


def versions(client: "Client", name: str) -> list[Version]:
    """All versions of a model, the newest first."""
    aliases: dict[str, list[str]] = {}
    for model in client.search_registered_models(f"name = '{name}'"):
        for alias, number in model.aliases.items():
            aliases.setdefault(str(number), []).append(alias)
    found = sorted(_every(client, f"name = '{name}'"), key=lambda version: -int(version.version))
    return [
        Version(
            number=str(version.version),
            aliases=tuple(sorted(aliases.get(str(version.version), []))),
            created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
            run_id=version.run_id or "",
            source=version.source,
            tags=dict(version.tags),
        )
        for version in found
    ]


def version(client: "Client", name: str, number: str) -> Version:
    """The version of that number.

    Raises:
        StoreError: there is none.
    """
    known = versions(client, name)
    for found in known:
        if found.number == number:
            return found
    there = ", ".join(one.number for one in known) or "none"
    raise StoreError(f"{name} has no version {number}: there are {there} (`python -m mlops registry show`)")


def in_production(client: "Client", name: str) -> Version | None:
    """The version that is the champion, if there is one."""
    return next((version for version in versions(client, name) if CHAMPION in version.aliases), None)


def experiments(client: "Client", name: str) -> set[tuple[str, str]]:
    """The DVC experiments that have a run in the MLflow experiment `name`: their names and baseline commits."""
    home = client.get_experiment_by_name(name)
    found: set[tuple[str, str]] = set()
    token = None
    while home and (token is None or token):
        page = client.search_runs([home.experiment_id], f"tags.{KEY} != ''", page_token=token)
        tags = [run.data.tags for run in page]
        found |= {(one["experiment"], one["commit"]) for one in tags if "experiment" in one}
        token = page.token or ""
    return found


def has_model(client: "Client", experiment: str, digest: str) -> bool:
    """Whether a run of that MLflow experiment has recorded the model with this SHA-256."""
    home = client.get_experiment_by_name(experiment)
    found = home and client.search_runs([home.experiment_id], f"tags.{MODEL_DIGEST} = '{digest}'", max_results=1)
    return bool(found)


def log_of(name: str) -> str:
    """What a model's audit log is called, which is a model of its own (see `mlops.registry.audit`)."""
    return f"{name}.audit"


def add_entry(client: "Client", name: str, source: Version, tags: dict[str, str]) -> None:
    """Add an entry about `source` to the log of a model: a version of `log_of(name)`, numbered by the registry."""
    _ensure(client, log_of(name))
    model_id = source.source.removeprefix(MODEL)
    client.create_model_version(log_of(name), source.source, source.run_id, tags=tags, model_id=model_id)


def artifact(client: "Client", run_id: str, path: Path, into: Path) -> Path:
    """Fetch a file that was kept with a run."""
    return Path(client.download_artifacts(run_id, path.as_posix(), str(into)))


def _every(client: "Client", asked: str) -> list["ModelVersion"]:
    """All versions that a search finds, over its pages, but for those that were taken back."""
    found: list[ModelVersion] = []
    token = None
    while token is None or token:
        page = client.search_model_versions(asked, page_token=token)
        found += [version for version in page if TAKEN_BACK not in version.tags]
        token = page.token or ""
    return found


def _prepare_sqlite(address: str) -> None:
    """Make a new SQLite store under another name and move it into place: it is never seen half made."""
    database = backend.database(address)
    if database is None or database.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = database.with_name(f".{database.name}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    SqlAlchemyStore(f"sqlite:///{part.as_posix()}", _artifacts(database).as_uri()).engine.dispose()
    part.replace(database)


def _artifacts(database: Path) -> Path:
    return database.parent / "mlruns"


def _experiment(client: "Client", name: str, address: str) -> str:
    """The experiment's id. With SQLite its artifacts lie beside the database, wherever this process runs."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        database = backend.database(address)
        place = (_artifacts(database) / name).as_uri() if database else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _runs(client: "Client", home: str, result: Result) -> list[str]:
    """Ids of the finished runs of this result, the earliest first; of an experiment, those of that experiment only."""
    found = client.search_runs([home], f"tags.{KEY} = '{result.key}'")
    if "experiment" in result.tags:
        own = {name: result.tags[name] for name in ("experiment", "commit")}
        found = [run for run in found if own.items() <= run.data.tags.items()]
    return [run.info.run_id for run in sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))]


def _delete_cut_off(client: "Client", home: str, result: Result) -> None:
    """Delete runs of this result that a killed process began: nobody else is at the store, so none still goes on."""
    begun = f"attributes.status = 'RUNNING' and tags.{MODEL_DIGEST} = '{result.digests['model']}'"
    for run in client.search_runs([home], begun):
        if all(run.data.tags.get(f"{kind}_digest") == digest for kind, digest in result.digests.items()):
            client.delete_run(run.info.run_id)


def _new_run(client: "Client", experiment: str, result: Result) -> str:
    """Make the run; its key is set last, so that a run which was cut off is never taken for the result."""
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run(experiment, run_name=result.tags.get("experiment"))
    run_id = run.info.run_id
    try:
        digests = {f"{kind}_digest": digest for kind, digest in result.digests.items()}
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, run.info.start_time, 0) for name, value in result.metrics.items()],
            params=[Param(name, str(value)) for name, value in params.flat(result.params).items()],
            tags=[RunTag(name, value) for name, value in {**result.tags, **digests}.items()],
        )
        for path in result.artifacts:
            client.log_artifact(run_id, str(path), path.parent.as_posix())
        _log_model(run_id, result)
        client.set_terminated(run_id)
        if not _runs(client, experiment, result):
            client.set_tag(run_id, KEY, result.key)
    except BaseException:
        _take_back_run(client, run_id)
        raise
    first = _runs(client, experiment, result)[0]
    if first != run_id:
        _take_back_run(client, run_id)
    return first


def _take_back_run(client: "Client", run_id: str) -> None:
    """Delete a run; who may edit but not delete leaves it, as one that failed and is no result."""
    try:
        client.delete_run(run_id)
    except Exception as error:
        if not backend.refused(error):
            raise
        client.set_terminated(run_id, "FAILED")
        client.set_tag(run_id, KEY, "")


def _log_model(run_id: str, result: Result) -> None:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from mlops.base import files

    columns = [ColSpec(kind, name, required=False) for name, kind in result.columns.items()]
    with mlflow.start_run(run_id=run_id):
        mlflow.sklearn.log_model(
            files.read_model(result.model).pipeline,
            name="model",
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
            signature=ModelSignature(inputs=Schema(columns)),
            pip_requirements=list(result.requirements),
            input_example=result.example,
        )


def _version(client: "Client", run_id: str, result: Result) -> str:
    """The version of this model, made unless it is there."""
    digest = result.digests["model"]
    found = _registered(client, result.name, digest)
    if found:
        return found[0]
    for name in (result.name, log_of(result.name)):  # who makes a model has every right to it: not who comes later
        _ensure(client, name)
    outputs = client.get_run(run_id).outputs
    model_id = outputs.model_outputs[0].model_id
    known = client.get_run(run_id).data.tags
    # What is registered now may have run before, as an experiment: the commit is today's.
    tags = {
        name: result.tags.get(name, known.get(name, "")) for name in ON_VERSION if name in known | dict(result.tags)
    }
    tags |= {f"{kind}_digest": digest for kind, digest in result.digests.items()} | {"gate": result.verdict}
    made = client.create_model_version(
        result.name, MODEL + model_id, run_id, tags=tags, description=result.description, model_id=model_id
    )
    first = _registered(client, result.name, digest)[0]
    if first != str(made.version):
        _take_back(client, result.name, str(made.version))
    else:
        client.set_registered_model_alias(result.name, CHALLENGER, first)
    return first


def _take_back(client: "Client", name: str, number: str) -> None:
    """Remove a version for which another was faster; who may edit but not delete leaves it, marked as none."""
    try:
        client.delete_model_version(name, number)
    except Exception as error:
        if not backend.refused(error):
            raise
        client.set_model_version_tag(name, number, TAKEN_BACK, "true")


def _ensure(client: "Client", name: str) -> None:
    """Make a registered model of that name, unless there is one."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _registered(client: "Client", name: str, digest: str) -> list[str]:
    """The versions whose model has this digest, the lowest number first."""
    found = _every(client, f"name = '{name}' and tags.{MODEL_DIGEST} = '{digest}'")
    return [str(version) for version in sorted(int(model.version) for model in found)]
