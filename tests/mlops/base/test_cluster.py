"""Pieces of work on a real Dask cluster: who does them, what is sent, and what is refused."""

import importlib
import operator
import os
import pkgutil
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.base import cluster, model_files, parallel, pieces
from mlops.base.errors import DataError, ParameterError, ProjectError, StoreError
from mlops.base.params import Compute, Estimator, Models, Train
from mlops.data.schema import Schema
from mlops.training import metrics, selection
from ruamel.yaml import YAML

from tests import services
from tests.conftest import PROJECT, TEMPLATE


@pytest.fixture(autouse=True)
def nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of who runs the tests names no scheduler."""
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Dask]:
    """A scheduler with two workers, which no test harms."""
    with services.dask(tmp_path_factory.mktemp("dask"), 2) as started:
        yield started


@pytest.fixture
def settings(dask: services.Dask, tmp_path: Path) -> Compute:
    """What params.yaml says of it."""
    return Compute(scheduler=dask.address, folder=str(tmp_path / "shared"))


def test_without_a_scheduler_nothing_of_dask_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "distributed"]:
        monkeypatch.delitem(sys.modules, name)

    with cluster.connected(Compute()) as run:
        assert run is None

    assert "distributed" not in sys.modules


def test_answers_come_in_the_order_of_the_items_from_other_processes(settings: Compute) -> None:
    with cluster.connected(settings) as run:
        assert list(run("power", pow, (2,), [(number,) for number in range(20)], 1)) == [2**k for k in range(20)]
        processes = set(run("process", os.getpid, (), [()] * 10, 1))

    assert os.getpid() not in processes


def test_what_is_large_is_read_from_the_folder_which_is_empty_again_afterwards(
    settings: Compute, tmp_path: Path
) -> None:
    numbers = np.arange(2 * pieces.MOST_SENT // 8).reshape(2, -1)

    with cluster.connected(settings) as run:
        sums = run("sum", np.sum, (numbers,), [(0,), (1,)], 1)
        first = next(sums)
        kept = [path.stat().st_size for path in (tmp_path / "shared").glob("mlops-*/*.pickle")]
        second = next(sums)
        sums.close()

    assert [first.tolist(), second.tolist()] == [numbers.sum(axis=0).tolist(), numbers.sum(axis=1).tolist()]
    assert kept == [pytest.approx(numbers.nbytes, rel=0.01)]
    assert list((tmp_path / "shared").iterdir()) == []


def test_large_pieces_and_their_answers_lie_in_the_folder_a_few_at_a_time(settings: Compute, tmp_path: Path) -> None:
    taken = []

    def items() -> Iterator[tuple[Any]]:
        for number in range(7):
            taken.append(number)
            yield (np.full(pieces.MOST_SENT // 8 + 1, number),)

    with cluster.connected(settings) as run:
        answers = run("negative", np.negative, (), items(), 1)
        first = next(answers)
        ahead, [folder] = len(taken), (tmp_path / "shared").iterdir()
        found = [int(answer[-1]) for answer in [first, *answers]]

    assert ahead == 2 * cluster.AHEAD
    assert found == [-number for number in range(7)]
    assert not folder.exists()


def test_items_that_cannot_be_had_are_told_after_the_answers_before_them(settings: Compute) -> None:
    def items() -> Iterator[tuple[int]]:
        yield (1,)
        yield (2,)
        raise DataError("the third is broken")

    with cluster.connected(settings) as run:
        answers = run("power", pow, (2,), items(), 1)
        assert [next(answers), next(answers)] == [2, 4]
        with pytest.raises(DataError, match="the third is broken"):
            next(answers)


def test_a_worker_that_cannot_read_the_folder_is_named(dask: services.Dask) -> None:
    here = Compute(scheduler=dask.address, folder="memory://only/here")  # in the memory of this process

    with (
        cluster.connected(here) as run,
        pytest.raises(StoreError, match=r"^the worker tcp://127\S+ cannot read 'memory://only/here/.*compute.folder"),
    ):
        list(run("length", len, (bytes(2 * pieces.MOST_SENT),), [()], 1))


def test_a_folder_that_cannot_be_written_is_named(dask: services.Dask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        cluster.connected(Compute(scheduler=dask.address, folder=str(tmp_path / "file"))) as run,
        pytest.raises(StoreError, match=r"file/mlops-\w+/\w+.pickle could not be written .*: correct compute.folder"),
    ):
        list(run("length", len, (bytes(2 * pieces.MOST_SENT),), [()], 1))


def test_the_error_of_a_piece_comes_back_as_itself(settings: Compute) -> None:
    with cluster.connected(settings) as run, pytest.raises(ParameterError, match=r"train\.model is forst"):
        list(run("choice", Models.choose, (Models(),), [("forst",)], 1))


def test_workers_run_the_code_of_now_and_say_where_that_of_the_project_fails(
    settings: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    for path in (TEMPLATE / PROJECT / "mlops" / "base").glob("*.py"):
        (root / "mlops" / "base").mkdir(parents=True, exist_ok=True)
        (root / "mlops" / "base" / path.name).write_bytes(path.read_bytes())
    (root / "project").mkdir()
    for package in ("mlops", "project"):
        (root / package / "__init__.py").write_text("")
    monkeypatch.setattr(cluster, "ROOT", root)

    def found(name: str) -> set[int]:
        with cluster.connected(settings) as run:
            return set(run("look", pkgutil.resolve_name, (f"project.own:{name}",), [()] * 4, 1))

    (root / "project" / "own.py").write_text("ANSWER = 41\n")
    before = found("ANSWER")
    (root / "project" / "own.py").write_text("ANSWER = 42\nWRONG = 1 / 0\n".replace("WRONG", "\n\nWRONG"))
    with pytest.raises(ProjectError) as error:
        found("ANSWER")
    beside = "from pathlib import Path\nANSWER = int(Path(__file__).with_name('answer.txt').read_text())\n"
    (root / "project" / "own.py").write_text(beside)
    (root / "project" / "answer.txt").write_text("43")

    assert (before, found("ANSWER")) == ({41}, {43})
    assert re.fullmatch(
        r"on the worker tcp://127\S+: project/own\.py at line 4 \(WRONG = 1 / 0\) fails with ZeroDivisionError: "
        "division by zero; correct it there",
        str(error.value),
    )


OWN = """
import numpy as np
from sklearn.ensemble import RandomForestClassifier


class Forest(RandomForestClassifier):
    pass


def missed(actual, predicted, probability):
    return float(((actual == "yes") & (predicted == "no")).mean())
"""


def test_a_search_by_code_of_the_project_gives_the_same_model_to_the_byte(
    settings: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, rng = tmp_path / "root", np.random.default_rng(0)
    shutil.copytree(TEMPLATE / PROJECT / "mlops", root / "mlops", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "project").mkdir()
    (root / "project" / "of_test.py").write_text(OWN)
    monkeypatch.setattr(cluster, "ROOT", root)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setitem(metrics.OWN, "missed", importlib.import_module("project.of_test").missed)
    monkeypatch.setitem(metrics.HIGHER_IS_BETTER, "missed", False)
    monkeypatch.setattr(pieces, "MOST_SENT", 10_000)  # so that the table goes by the folder
    rows = 300
    table = pd.DataFrame(
        {
            "age": rng.normal(size=rows),
            "town": pd.array(rng.choice(["a", "b", "c"], rows), dtype="str"),
            "street": pd.array([f"s{number % 120}" for number in range(rows)], dtype="str"),
            "churn": pd.array(rng.choice(["yes", "no"], rows), dtype="str"),
        }
    )
    columns = {name: {"type": "number" if name == "age" else "category"} for name in table}
    schema = Schema.model_validate({"columns": columns | {"churn": {"type": "category", "role": "target"}}})
    models = Models({"mine": Estimator(classifier="project.of_test.Forest", n_estimators=5)})
    search = {"candidates": 2, "metric": "missed", "space": {"mine": {"max_depth": {"low": 2, "high": 9}}}}
    train = Train.model_validate({"model": "mine", "folds": 2, "calibrate": "sigmoid", "search": search})

    def trained(name: str) -> tuple[bytes, Any]:
        made = selection.train(table.copy(), schema, train, models, lambda pieces, *_: pieces)
        model_files.write(tmp_path / name, made.model)
        return (tmp_path / name).read_bytes(), made.report

    here = trained("here")
    with cluster.connected(settings, ["project.of_test.Forest"]) as run, parallel.run_by(run):
        there = trained("there")

    assert there == here
    assert "missed" in here[1]["cross_validated"]
    assert list((tmp_path / "shared").iterdir()) == []  # it was there, and nothing is left


def test_a_warning_on_a_worker_is_shown_here(settings: Compute) -> None:
    with cluster.connected(settings) as run, pytest.warns(RuntimeWarning, match="invalid value"):
        list(run("root", np.sqrt, (), [(-1.0,)], 1))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "tcp://ada:s3cr3t@127.0.0.1:1",
            r"tcp://127.0.0.1:1 does not answer \(.+\): start it, correct compute.scheduler",
        ),
        ("http://127.0.0.1:1", r"http://127.0.0.1:1 does not answer \(unknown address scheme 'http'"),
    ],
)
def test_a_scheduler_that_does_not_answer_is_told_without_its_password(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SCHEDULER_SECONDS", 0.2)

    with pytest.raises(StoreError, match=said) as error, cluster.connected(Compute(scheduler=address)):
        pass

    assert "s3cr3t" not in str(error.value)


def test_the_environment_wins_and_a_missing_package_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://10.0.0.2:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)

    with (
        pytest.raises(StoreError, match=r"tcp://10\.0\.0\.2:8786 takes .*`python -m mlops lock --extra cluster`"),
        cluster.connected(Compute(scheduler="tcp://10.0.0.1:8786")),
    ):
        pass


def test_a_scheduler_of_another_dask_is_told(settings: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client

    def versions(self: Client, packages: list[str]) -> dict[str, object]:
        machine = {"packages": {"python": "3.11.7", **dict.fromkeys(packages, "1.0")}}
        old = {"packages": {"python": "3.11.2", "distributed": "0.9", "cloudpickle": "1.0"}}
        old["packages"] = {**dict.fromkeys(packages), **old["packages"]}
        return {"client": machine, "workers": {"tcp://10.0.0.2:1": machine}, "scheduler": old}

    monkeypatch.setattr(Client, "get_versions", versions)

    with (
        pytest.raises(StoreError, match=r"^the scheduler has distributed 0\.9, and this machine 1\.0: install"),
        cluster.connected(settings),
    ):
        pass


def test_workers_of_other_packages_and_clusters_that_die_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "packages" / "numpy-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    refused = rf"^the worker tcp://127\S+ has numpy 0\.1, and this machine {re.escape(np.__version__)}: install"
    with services.dask(tmp_path, 1, allowed_failures=0) as dask:
        settings = Compute(scheduler=dask.address)
        with cluster.connected(settings) as run:
            # The one that was looked at goes, and another one comes.
            with pytest.raises(StoreError, match=r"^end 1 of 1 ended each of the 1 workers of the Dask cluster tcp://"):
                list(run("end", os._exit, (), [(1,)], 1))
            with monkeypatch.context() as impatient:
                impatient.setattr(cluster, "WORKER_SECONDS", 0.1)
                impatient.setattr(cluster, "LOOK_SECONDS", 0.1)
                with pytest.raises(
                    StoreError, match=r"has had no worker for 0.1 seconds: start one \(`dask worker tcp:"
                ):
                    list(run("sum", operator.add, (1,), [(1,)], 1))
            dask.start_worker(PYTHONPATH=str(other.parent))
            with pytest.raises(StoreError, match=refused):
                list(run("sum", operator.add, (1,), [(1,)], 1))
        with pytest.raises(StoreError, match=refused), cluster.connected(settings):
            pass
        dask.workers[-1].kill()
        dask.workers[-1].wait()
        dask.start_worker()
        with cluster.connected(settings) as run:
            sleeping = run("sleep", time.sleep, (), [(0,), (60,)], 1)
            next(sleeping)
            dask.scheduler.kill()
            with pytest.raises(StoreError, match=r"was lost in the middle of the work \(.+\): start it"):
                next(sleeping)


def test_the_recipes_name_commands_and_options_of_dask() -> None:
    from distributed.cli import dask_scheduler, dask_worker

    text = (TEMPLATE / PROJECT / "docs" / "cluster.md").read_text(encoding="utf-8")
    [manifest] = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    service, *deployments = YAML(typ="safe").load(manifest)["items"]
    containers = [one["spec"]["template"]["spec"]["containers"][0] for one in deployments]
    commands = [shlex.join(container["command"]) for container in containers]
    commands += re.findall(r"dask/bin/(dask (?:scheduler|worker) .*?) >", text)
    [port] = [port["port"] for port in service["spec"]["ports"]]

    assert len(commands) == 4
    for command in commands:
        program, kind, *arguments = shlex.split(command)
        main = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[kind]
        context = main.make_context(program, arguments)  # refuses an unknown option, or a value of another type
        assert str(context.params.get("scheduler") or f":{context.params['port']}").endswith(f":{port}")
