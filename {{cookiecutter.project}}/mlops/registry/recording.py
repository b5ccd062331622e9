"""Record results in MLflow: one run per distinct result, and at most one version per model.

However often and from however many processes `record` is called for the same result, MLflow has one run of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import files, params
from mlops.registry import audit, backend, registry
from mlops.registry.registry import CHALLENGER, MODEL_DIGEST, RESULT_KEY, TAKEN_BACK

if TYPE_CHECKING:
    import pandas as pd

    from mlops.registry.registry import Client

# Tags that a version copies from its run.
VERSION_TAGS = ("author", "user", "commit", "experiment", "model_type")


@dataclass(frozen=True)
class Result:
    """A result to record.

    `digests` (model, data, params, code; SHA-256) identify the result. `columns` are the model's inputs with their
    MLflow types, and `example` is a row of inputs. `artifacts` are files to keep with the run, `verdict` is the gate's
    verdict as text, and `description` (Markdown) is shown with the version.
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
        """All digests in one tag, by which a run is found."""
        return "-".join(f"{kind}:{digest[:16]}" for kind, digest in sorted(self.digests.items()))

    @property
    def digest_tags(self) -> dict[str, str]:
        """The digests as tags of a run or a version."""
        return {f"{kind}_digest": digest for kind, digest in self.digests.items()}


@dataclass(frozen=True)
class Recorded:
    """The run of a result and whether it is new; `version` is None if the model is not registered."""

    run_id: str
    version: str | None
    new: bool


def record(result: Result, register: bool, uri: str, experiment: str) -> Recorded:
    """Find or create the run of `result` and, with `register`, the version of its model.

    The same result in another DVC experiment has another run.

    Processes that share a SQLite store wait for each other. On a server, a process that finds the same run or version
    made by a faster process deletes its own.

    Raises:
        StoreError: the store cannot be reached or refuses; a run that was begun is deleted.
    """
    with registry.opened(uri) as client:
        database = backend.database(backend.address(uri))
        home = _experiment(client, experiment, database)
        if database:
            _delete_interrupted(client, home, result)
        found = _runs(client, home, result)
        try:
            run_id = found[0] if found else _new_run(client, home, result)
        except BaseException:
            if database:  # an interruption may fall between the making of a run and its id
                _delete_interrupted(client, home, result)
            raise
        version = _version(client, run_id, result) if register else None
        client.set_tag(run_id, "registered", str(bool(_registered(client, result))).lower())
        return Recorded(run_id, version, new=not found)


def _experiment(client: "Client", name: str, database: Path | None) -> str:
    """The id of the MLflow experiment; with SQLite its artifacts lie beside the database, wherever this runs."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = (registry.artifact_root(database) / name).as_uri() if database else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _runs(client: "Client", home: str, result: Result) -> list[str]:
    """Ids of the finished runs of this result, the earliest first; in a DVC experiment only the experiment's runs."""
    found = client.search_runs([home], f"tags.{RESULT_KEY} = '{result.key}'")
    if "experiment" in result.tags:
        own = {name: result.tags[name] for name in ("experiment", "commit")}
        found = [run for run in found if own.items() <= run.data.tags.items()]
    return [run.info.run_id for run in sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))]


def _delete_interrupted(client: "Client", home: str, result: Result) -> None:
    """Delete the runs of this result that a killed process left: in a locked store, no other run is going on."""
    running = f"attributes.status = 'RUNNING' and tags.{MODEL_DIGEST} = '{result.digests['model']}'"
    for run in client.search_runs([home], running):
        if result.digest_tags.items() <= run.data.tags.items():
            client.delete_run(run.info.run_id)


def _new_run(client: "Client", home: str, result: Result) -> str:
    """Create the run; its key is set last, so that an interrupted run is never taken for the result."""
    from mlflow.entities import Metric, Param, RunTag

    # With its digests from the first moment, so that it is found if this is interrupted.
    run = client.create_run(home, run_name=result.tags.get("experiment"), tags=result.digest_tags)
    run_id = run.info.run_id
    try:
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, run.info.start_time, 0) for name, value in result.metrics.items()],
            params=[Param(name, str(value)) for name, value in params.flat(result.params).items()],
            tags=[RunTag(name, value) for name, value in result.tags.items()],
        )
        for path in result.artifacts:
            client.log_artifact(run_id, str(path), path.parent.as_posix())
        _log_model(run_id, result)
        client.set_terminated(run_id)
        if not _runs(client, home, result):
            client.set_tag(run_id, RESULT_KEY, result.key)
    except BaseException:
        _take_back_run(client, run_id)
        raise
    first = _runs(client, home, result)[0]
    if first != run_id:
        _take_back_run(client, run_id)
    return first


def _take_back_run(client: "Client", run_id: str) -> None:
    """Delete a run; an account that may not delete marks the run as failed instead."""
    if not _deleted(client.delete_run, run_id):
        client.set_terminated(run_id, "FAILED")
        client.set_tag(run_id, RESULT_KEY, "")


def _deleted(delete: Callable[..., None], *arguments: str) -> bool:
    """Whether `delete` succeeds; False if this account may not delete."""
    try:
        delete(*arguments)
    except Exception as error:
        if not backend.refused(error):
            raise
        return False
    return True


def _log_model(run_id: str, result: Result) -> None:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns = [ColSpec(kind, name, required=False) for name, kind in result.columns.items()]
    pipeline = files.read_model(result.model).pipeline
    own = type(pipeline[-1]).__module__.partition(".")[0] == "project"
    with mlflow.start_run(run_id=run_id):
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            code_paths=["project"] if own else None,  # whoever loads the model needs its class
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
            signature=ModelSignature(inputs=Schema(columns)),
            pip_requirements=list(result.requirements),
            input_example=result.example,
        )


def _version(client: "Client", run_id: str, result: Result) -> str:
    """Find or create the version of this model; a new version is the challenger.

    If another process was faster, its version counts, and this one is deleted or marked as taken back.
    """
    if found := _registered(client, result):
        return found[0]
    for name in (result.name, audit.log_of(result.name)):  # only the account that creates a model has every right to it
        registry.ensure_model(client, name)
    run = client.get_run(run_id)
    model_id = run.outputs.model_outputs[0].model_id
    # The run may be older, by an experiment: the result's own tags, such as the commit, win.
    known = {**run.data.tags, **result.tags}
    tags = {name: known[name] for name in VERSION_TAGS if name in known}
    tags |= {**result.digest_tags, "gate": result.verdict}
    source, text = registry.MODEL_URI + model_id, result.description
    made = client.create_model_version(result.name, source, run_id, tags, description=text, model_id=model_id)
    first = _registered(client, result)[0]
    if first == str(made.version):
        client.set_registered_model_alias(result.name, CHALLENGER, first)
    elif not _deleted(client.delete_model_version, result.name, str(made.version)):
        client.set_model_version_tag(result.name, str(made.version), TAKEN_BACK, "true")
    return first


def _registered(client: "Client", result: Result) -> list[str]:
    """The numbers of the versions of this model, the lowest first."""
    query = f"name = '{result.name}' and tags.{MODEL_DIGEST} = '{result.digests['model']}'"
    return [str(found.version) for found in registry.search_versions(client, query)]
