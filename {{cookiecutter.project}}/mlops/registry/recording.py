"""Record results in MLflow: one run per distinct result, and at most one version per model.

However often and from however many processes `record` is called for the same result, MLflow has one run of it.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import model_files, params
from mlops.base.interruptions import held
from mlops.history.provenance import EXPERIMENT
from mlops.registry import audit, backend, packaging, registry, scoring, sqlite_store
from mlops.registry.registry import CHALLENGER, MODEL_DIGEST, PACKAGE, RESULT_KEY, STAGE, TAKEN_BACK
from mlops.training.model import FittedModel

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

    from mlops.registry.registry import Client

# Tags that a version copies from its run.
VERSION_TAGS = (
    *("user", "experiment", "model_type", "framework", "environment", "training_type", "trigger", "reasons"),
    *(STAGE, PACKAGE),
)
PARAMS_AT_ONCE = 100  # MLflow's limit
CONTENDERS_TIMEOUT = 60  # seconds to wait for a run of the same result that began earlier


@dataclass(frozen=True)
class Result:
    """A result to record.

    `digests` (model, data, params, code; SHA-256) identify the result. `commit` and `author` are those of the commit
    that brought it, empty before there is one. `data` are facts about the data, `artifacts` files to keep with the run,
    `verdict` is the gate's verdict as text, `description` (Markdown) is shown with the version, and `example` is a raw
    row.
    """

    name: str
    digests: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    model: Path
    requirements: Sequence[str]
    artifacts: Sequence[Path]
    data: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""
    author: str = ""
    verdict: str = ""
    description: str = ""
    example: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """All digests in one tag, by which a run is found."""
        return "-".join(f"{kind}:{digest[:16]}" for kind, digest in sorted(self.digests.items()))

    @property
    def trial_tags(self) -> dict[str, str]:
        """The tags of the DVC experiment that made the result; none outside an experiment."""
        return {name: self.tags[name] for name in ("experiment", "baseline") if name in self.tags}

    @property
    def commit_tags(self) -> dict[str, str]:
        """The commit and its author as tags of a version; none before there is a commit."""
        return {"commit": self.commit, "author": self.author} if self.commit else {}

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
        database = sqlite_store.file_of(backend.address(uri))
        home = _experiment(client, experiment, database)
        if database:
            _delete_interrupted(client, home, result)
        found = _runs(client, home, result)
        try:
            run_id = found[0] if found else _new_run(client, home, result, alone=bool(database))
        except BaseException:
            if database:  # an interruption may fall between the making of a run and its id
                with held():
                    _delete_interrupted(client, home, result)
            raise
        version = _version(client, run_id, result) if register else None
        _update_run(client, run_id, result)
        return Recorded(run_id, version, new=not found)


def _experiment(client: "Client", name: str, database: Path | None) -> str:
    """The id of the MLflow experiment; with SQLite its artifacts lie beside the database, wherever this runs."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = (sqlite_store.artifact_root(database) / name).as_uri() if database else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _runs(client: "Client", home: str, result: Result) -> list[str]:
    """Ids of the finished runs of this result, the earliest first; in a DVC experiment only the experiment's runs."""
    return [run.info.run_id for run in _with_key(client, home, result) if run.info.status == "FINISHED"]


def _with_key(client: "Client", home: str, result: Result) -> list["Run"]:
    return _by_age(client.search_runs([home], f"tags.{RESULT_KEY} = '{result.key}'"), result)


def _by_age(runs: Iterable["Run"], result: Result) -> list["Run"]:
    """The runs that may be the run of this result, the earliest first."""
    found = [run for run in runs if result.trial_tags.items() <= run.data.tags.items()]
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))


def _update_run(client: "Client", run_id: str, result: Result) -> None:
    """Let the run say what is true of its result now: whether it is registered, and its commit."""
    known = client.get_run(run_id).data.tags
    now = {"registered": str(bool(_registered(client, result))).lower()}
    if result.commit:
        now["commit"] = result.commit
    if known.get(STAGE) == EXPERIMENT != result.tags.get(STAGE):  # its result is taken over
        now |= {name: result.tags[name] for name in (STAGE, "training_type") if name in result.tags}
    for name, value in now.items():
        if known.get(name) != value:
            client.set_tag(run_id, name, value)


def _delete_interrupted(client: "Client", home: str, result: Result) -> None:
    """Delete the runs of this result that a killed process left: in a locked store, no other run is going on."""
    running = f"attributes.status = 'RUNNING' and tags.{MODEL_DIGEST} = '{result.digests['model']}'"
    for run in client.search_runs([home], running):
        if result.digest_tags.items() <= run.data.tags.items():
            client.delete_run(run.info.run_id)


def _new_run(client: "Client", home: str, result: Result, *, alone: bool) -> str:
    """Create the run of a result. Of several processes that do so at once, one keeps its run.

    A run has the digests of its result from the first moment, so that the others see it, and is finished last, so that
    an interrupted run is never taken for the result.

    `alone` in a SQLite store, interruptions wait for the end of a call: a statement that is cut off keeps the store
    locked, so that nothing could be taken back.
    """
    from mlflow.entities import Metric, Param, RunTag

    with held(alone):
        run = client.create_run(
            home, run_name=result.tags.get("experiment"), tags=result.digest_tags | result.trial_tags
        )
    run_id, start = run.info.run_id, run.info.start_time
    try:
        parameters = [Param(name, str(value)) for name, value in params.flat(result.params).items()]
        with held(alone):
            client.log_batch(
                run_id,
                metrics=[Metric(name, value, start, 0) for name, value in result.metrics.items()],
                tags=[RunTag(name, value) for name, value in result.tags.items()],
            )
        for at in range(0, len(parameters), PARAMS_AT_ONCE):
            with held(alone):
                client.log_batch(run_id, params=parameters[at : at + PARAMS_AT_ONCE])
        with held(alone):
            _log_data(client, run_id, result)
            for path in result.artifacts:
                client.log_artifact(run_id, str(path), path.parent.as_posix())
        with held(alone):
            client.set_tag(run_id, PACKAGE, _log_model(run_id, result))
        if not alone:
            _wait_for_earlier(client, home, result, run)
        with held(alone):
            if not _with_key(client, home, result):
                client.set_tag(run_id, RESULT_KEY, result.key)
            first = str(_with_key(client, home, result)[0].info.run_id)
            if first != run_id:
                _take_back_run(client, run_id)
            else:
                client.set_terminated(run_id)
    except BaseException:
        with held(alone):
            _take_back_run(client, run_id)
        raise
    return first


def _wait_for_earlier(client: "Client", home: str, result: Result, run: "Run") -> None:
    """Wait while a run of the same result that began earlier is going on, unless its process has been killed."""
    query = f"attributes.status = 'RUNNING' and tags.{MODEL_DIGEST} = '{result.digests['model']}'"
    end = time.monotonic() + CONTENDERS_TIMEOUT
    while time.monotonic() < end:
        running = client.search_runs([home], query)
        same = [each for each in running if result.digest_tags.items() <= each.data.tags.items()]
        if _by_age([*same, run], result)[0].info.run_id == run.info.run_id:
            return
        time.sleep(0.5)


def _log_data(client: "Client", run_id: str, result: Result) -> None:
    """Name the data that the run read as MLflow's dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    data = Dataset(
        name=result.name,
        digest=result.digests["data"][:36],  # MLflow's limit
        source_type="dvc",
        source=json.dumps({"path": "data/raw"}),
        profile=json.dumps(dict(result.data)),
    )
    inputs = [DatasetInput(data, [InputTag("mlflow.data.context", "training")])]
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException:
        # MLflow looks for the dataset and then adds it: who adds it second at the same moment is refused, and finds it
        # the next time.
        client.log_inputs(run_id, inputs)


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


def _log_model(run_id: str, result: Result) -> str:
    """Log the model with its code; returns the digest of the code."""
    import mlflow

    mlflow.start_run(run_id=run_id)
    try:
        with packaging.package() as (folder, code):
            answering = model_files.read(result.model, load=code.load)
            mlflow.sklearn.log_model(
                answering,
                name="model",
                code_paths=[str(folder)],
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
                signature=_signature(answering.model),
                pip_requirements=list(result.requirements),
                pyfunc_predict_fn="score",
                input_example=[result.example] if result.example else None,
            )
            return packaging.digest(folder)
    finally:
        mlflow.end_run("RUNNING")  # it is not the run of the result yet


def _signature(model: FittedModel) -> "ModelSignature":
    """The types of a raw row and of an answer.

    They are what a value means. How it is written is the model's own affair: it takes Yes for a boolean and "3" for an
    integer, which MLflow would refuse, or cast to something else. So MLflow is told that the model checks its input.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    sides = (scoring.inputs(model.schema), scoring.outputs(model))
    signature = ModelSignature(*(Schema([ColSpec(kind, name) for name, kind in side.items()]) for side in sides))
    signature._is_signature_from_type_hint = True
    return signature


def _version(client: "Client", run_id: str, result: Result) -> str:
    """Find or create the version of this model; a new version is the challenger.

    If another process was faster, its version counts, and this one is deleted or marked as taken back.
    """
    if found := _registered(client, result):
        known = client.get_model_version(result.name, found[0]).tags
        # Who first brought it to Git stays its author.
        new = {} if "commit" in known or not result.commit else result.commit_tags | result.digest_tags
        for name, value in new.items():
            client.set_model_version_tag(result.name, found[0], name, value)
        if found[0] == str(registry.search_versions(client, f"name = '{result.name}'")[-1].version):
            # A process that was killed may not have come so far.
            client.set_registered_model_alias(result.name, CHALLENGER, found[0])
        return found[0]
    for name in (result.name, audit.log_of(result.name)):  # only the account that creates a model has every right to it
        registry.ensure_model(client, name)
    run = client.get_run(run_id)
    model_id = run.outputs.model_outputs[0].model_id
    # The run may be older, by an experiment: the result's own tags win.
    known = {**run.data.tags, **result.tags}
    tags = {name: known[name] for name in VERSION_TAGS if name in known}
    tags |= {**result.digest_tags, **result.commit_tags, "gate": result.verdict, "registered": "true"}
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
