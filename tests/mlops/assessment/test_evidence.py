"""Each predicate, both ways: what counts, and what only looks as if it did."""

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from mlops.assessment.evidence import answers, gathering
from mlops.assessment.evidence.code import CONFIGURED, HAND, NOTHING, SYSTEM
from mlops.assessment.evidence.commands import commands
from mlops.assessment.evidence.facts import Facts
from mlops.assessment.evidence.systems import Version

from tests.mlops.assessment.evidence_of import (
    NOW,
    PARAMS,
    REPORTS,
    asked,
    digest,
    entry,
    facts,
    linked,
    project,
    run,
    workflow,
)

CI = ".github/workflows/ci.yml"
NIGHTLY = workflow(
    "python -m mlops retrain --source https://host/new.csv", on="{schedule: [{cron: 1 2 * * *}]}", name="nightly"
)
GREEN = [run("ci"), run("nightly", event="schedule")]
NAMES = {
    0: "data.local_files data.no_versioning data.checks_by_hand model.notebooks model.results_by_hand "
    "model.trial_and_error deployment.by_hand deployment.rare deployment.no_check monitoring.none "
    "monitoring.no_alerts monitoring.only_afterwards",
    1: "data.versioning data.checks data.lineage model.tracker model.recorded model.registry deployment.pipeline "
    "deployment.packaged deployment.staging monitoring.performance monitoring.drift monitoring.retraining_by_hand",
    2: "data.automated data.feature_store data.quality model.ci model.tests model.search deployment.automatic "
    "deployment.canary deployment.rollback monitoring.observability monitoring.retraining monitoring.response",
}
SECTIONS = ("data", "model", "infrastructure", "monitoring")
Given = Callable[[], Facts]


def own(*, with_facts: Mapping[str, Any] | None = None, **changes: Any) -> Given:
    return lambda: facts(project(**changes), **(with_facts or {}))


def other(files: Mapping[str, str | bytes], **more: Any) -> Given:
    return lambda: facts(files, **more)


def told(files: Mapping[str, str]) -> dict[str, str]:
    """Files of code, and a README that says how to run them."""
    return {**files, "README.md": "".join(f"    python {path}\n" for path in files)}


def in_ci(*commands: str, **more: Any) -> dict[str, str]:
    return {CI: workflow(*commands, **more)}


def notebook(*lines: str) -> str:
    """A notebook with one cell."""
    return json.dumps({"cells": [{"cell_type": "code", "source": lines}]}, indent=1)


def dvc() -> dict[str, str]:
    """A project with a pipeline of two stages that somebody made by hand."""
    code, check = "print()\n", {"cmd": "python check.py"}
    fit = {"cmd": "python train.py", "deps": ["train.py"], "metrics": [{"metrics.json": {"cache": False}}]}
    ran = {"cmd": "python train.py", "deps": [{"path": "train.py", "hash": "md5", **digest(code)}]}
    return {
        "dvc.yaml": json.dumps({"stages": {"fit": fit, "check_data": check}}),
        "dvc.lock": json.dumps({"stages": {"fit": ran, "check_data": check}}),
        "train.py": code,
        "check.py": "",
        "requirements.txt": "numpy==2.0\n",
    }


FIT = "import sklearn\n\nsklearn.A().fit(1)\n"
MLFLOW = "import mlflow\n\nmlflow.log_param('a', 1)\nmlflow.log_metric('b', 2)\n"
FROZEN = re.sub(r"(?m)^(\s+)cmd:", r"\1frozen: true\n\1cmd:", project()["dvc.yaml"])
LATE = entry("promote")
CANARY = [entry("promote", evidence={"errors": 1}, route="r")]
# In the registry, a change that came too late has the number of the one before it.
LOG = [
    Version(n, NOW.timestamp(), (), {"entry": json.dumps(linked([one])[0])})
    for n, one in (("2", LATE), ("1", CANARY[0]))
]


def kept(*entries: Mapping[str, Any]) -> list[Version]:
    """The audit log as the registry has it, newest first."""
    made = [Version(str(one["number"]), NOW.timestamp(), (), {"entry": json.dumps(one)}) for one in linked(entries)]
    return made[::-1]


# As the generated project delivers: after the checks, of a push, if a variable says so.
AFTER = """name: deliver
on: {workflow_run: {workflows: [ci], branches: [main]}}
jobs:
  package:
    if: vars.DELIVER == 'on' && github.event.workflow_run.event == 'push'
    steps: [{run: python -m mlops sync}]
  production:
    needs: package
    steps: [{run: python -m mlops deliver --limit 240 > x || code=$?}]
"""
MANIFEST = {"k8s/model.yaml": "kind: InferenceService\nspec:\n  predictor:\n    canaryTrafficPercent: 10\n"}
# Predicate, what is given, and the outcome and case that are expected.
CASES: list[tuple[str, Given, str, str]] = [
    ("data_is_local", other({"data/big.csv": "1,2\n" * 9000}), "true", "committed"),
    ("data_is_local", other({"train.py": 'import pandas\nread("/home/ada/x.csv")\n'}), "true", "local_path"),
    ("data_is_local", other({".dvc/config": "url = ../storage\n"}), "true", "local_remote"),
    ("data_is_local", other({"data.csv": "1,2\n"}), "true", "committed"),
    ("data_is_local", own(), "false", "remote"),
    ("data_versions", own(), "true", "dvc"),
    ("data_versions", other({"a.dvc": "outs:\n- {md5: x, path: a}\n"}), "true", "dvc_alone"),
    ("data_versions", other({"a.csv": "version https://git-lfs.github.com/spec/v1\n"}), "true", "lfs"),
    ("data_versions", other(told({"a.py": "import lakefs\nlakefs.repository('r')\n"})), "true", "tool"),
    ("data_versions", other({".dvc/config": "", "a.dvc": "outs:\n- {path: a}\n"}), "false", "dvc_empty"),
    ("data_versions", other({"a.py": "# import lakefs\n"}), "false", "none"),
    ("data_checks", own(), "true", "validated"),
    ("data_checks", own(reports={"reports/validation.json": {"errors": 2}}), "false", "errors"),
    ("data_checks", own(after={"reports/validation.json": '{"errors": 0}'}), "false", "report_outdated"),
    ("data_checks", own(after={"stages/train.py": "changed\n"}), "false", "report_outdated"),
    ("data_checks", own(reports={"reports/validation.json": None}), "false", "report_missing"),
    ("data_checks", other(dvc()), "true", "stage"),
    ("data_checks", other({"c.py": "import pandera\npandera.DataFrameSchema().validate(1)\n"}), "false", "unpractised"),
    (
        "data_checks",
        other({"c.py": "import pandera\npandera.DataFrameSchema().validate(1)\n", **in_ci("python c.py")}),
        "true",
        "tool",
    ),
    ("data_checks", other(in_ci("gx checkpoint run x"), runs=GREEN), "true", "job_green"),
    ("data_checks", other({}), "false", "none"),
    ("lineage", own(), "true", "lock"),
    ("lineage", own(after={"mlops/base/new.py": "y = 2\n"}), "false", "stale"),
    ("lineage", other(told({"a.py": "import mlflow\nmlflow.log_input(1)\n"})), "true", "tool"),
    ("lineage", other({"a.py": "import mlflow\n"}), "false", "none"),
    ("data_arrives_by_itself", own(**{CI: NIGHTLY}, with_facts={"runs": GREEN}), "true", "job_green"),
    ("data_arrives_by_itself", own(with_facts={"history": {"--grep=^Retrain-Delivery: ": [3]}}), "true", "retrained"),
    ("data_arrives_by_itself", own(**{CI: NIGHTLY.replace("--source https://host/new.csv", "")}), "false", "no_source"),
    ("data_arrives_by_itself", own(), "false", "own"),
    ("data_arrives_by_itself", other({"f.py": "from airflow import DAG\nDAG('x')\n"}), "not_available", "scheduler"),
    ("data_arrives_by_itself", other({}), "false", "none"),
    ("feature_store", own(), "false", "own_off"),
    ("feature_store", own(params={"features": {"tables": {"orders": {}}}}), "true", "own"),
    (
        "feature_store",
        own(params={"features": {"tables": {"orders": {}}}}, after={"schema.yaml": "columns: {}\n"}),
        "false",
        "own_stale",
    ),
    (
        "feature_store",
        other(told({"f.py": "import feast\nfeast.FeatureStore().get_online_features([])\n"})),
        "true",
        "tool",
    ),
    ("feature_store", other({"feature_store.yaml": "project: x\n", "f.py": "import feast\n"}), "false", "unused"),
    ("feature_store", other({}), "false", "none"),
    ("quality_is_watched", own(with_facts={"history": {"reports/drift.json": [1, 9, 20]}}), "true", "history"),
    ("quality_is_watched", own(with_facts={"history": {"reports/drift.json": [200, 209, 220]}}), "false", "none"),
    ("quality_is_watched", own(**{CI: NIGHTLY}, with_facts={"runs": GREEN}), "true", "job_green"),
    ("quality_is_watched", own(**{CI: NIGHTLY}), "not_available", "job_unpushed"),
    ("features_are_useful", own(), "true", "own"),
    ("features_are_useful", other(told({"e.py": "import shap\nshap.Explainer(1)\n"})), "true", "tool"),
    ("features_are_useful", other({"e.py": "import shap\n"}), "false", "none"),
    ("feature_costs", own(), "not_available", "people"),
    ("features_keep_rules", own(), "true", "own"),
    ("features_keep_rules", own(**{"schema.yaml": "columns: {age: {}}\n"}), "false", "none"),
    ("privacy", own(params={"serving": {"mask": "sensitive"}}), "true", "masked"),
    ("privacy", own(), "false", "unmasked"),
    ("privacy", own(**{"schema.yaml": "columns: {age: {}}\n"}), "not_applicable", "no_columns"),
    (
        "features_come_quickly",
        own(with_facts={"history": {"project/features.py": [9, 99], "dvc.lock": [7, 99]}}),
        "true",
        "took",
    ),
    (
        "features_come_quickly",
        own(with_facts={"history": {"project/features.py": [60, 99], "dvc.lock": [7, 99]}}),
        "false",
        "took",
    ),
    ("features_come_quickly", own(), "not_available", "no_feature"),
    ("feature_code_is_tested", own(**in_ci("pytest"), with_facts={"runs": GREEN}), "true", "tests_run"),
    ("feature_code_is_tested", own(**in_ci("pytest")), "not_available", "job_unpushed"),
    ("feature_code_is_tested", own(), "false", "tests_unrun"),
    ("feature_code_is_tested", own(**in_ci("pytest"), with_facts={"runs": [run("ci", "failure")]}), "false", "job_red"),
    (
        "notebooks",
        other({"n.ipynb": notebook("%matplotlib inline\n", "import sklearn\n", "sklearn.A().fit(1)")}),
        "true",
        "notebooks",
    ),
    ("notebooks", other({"t.py": "import sklearn\nsklearn.A().fit(1)\n"}), "false", "scripts"),
    ("notebooks", own(), "false", "pipeline"),
    ("tracker", own(with_facts={"versions": [Version("1", NOW.timestamp(), ())]}), "true", "own"),
    ("tracker", own(), "true", "own_stage"),
    ("tracker", own(after={"dvc.lock": "stages: {}\n"}), "false", "report_outdated"),
    ("tracker", own(with_facts={"ages": dict.fromkeys(project(), 200)}), "false", "report_outdated"),
    ("tracker", own(after={"dvc.yaml": FROZEN}), "false", "report_outdated"),
    ("tracker", other({"t.py": "import wandb\nif False:\n    wandb.init()\n"}), "false", "none"),
    ("tracker", other(told({"t.py": MLFLOW})), "true", "tool"),
    ("tracker", other(told({"t.py": "import wandb\nwandb.init()\n"})), "true", "tool"),
    ("tracker", other(told({"t.py": "import neptune\nneptune.init_run()\n"})), "true", "tool"),
    (
        "tracker",
        other({"t.py": "import wandb\nimport logging\nlogger = logging.getLogger()\nlogger.log(1)\nlog(2)\n"}),
        "false",
        "none",
    ),
    ("tracker", other({"t.py": '"""import mlflow\nmlflow.autolog()\n"""\nimport mlflow\n'}), "false", "none"),
    ("results_are_recorded", own(), "true", "dvc"),
    ("results_are_recorded", own(after={"reports/metrics.json": '{"accuracy": 1}'}), "false", "report_outdated"),
    ("results_are_recorded", other(told({"t.py": MLFLOW})), "true", "tool"),
    ("results_are_recorded", other(told({"t.py": "import mlflow.sklearn as m\nm.autolog()\n"})), "true", "tool"),
    (
        "results_are_recorded",
        other(told({"t.py": "from mlflow import log_metric\nlog_metric('a', 1)\n"})),
        "false",
        "half_parameters",
    ),
    ("results_are_recorded", other(dvc()), "true", "dvc"),
    ("results_are_recorded", other({**dvc(), "train.py": "other\n"}), "false", "stale"),
    ("registry", own(with_facts={"versions": [Version("1", NOW.timestamp(), ())]}), "true", "own"),
    ("registry", own(), "true", "own_passed"),
    ("registry", own(with_facts={"versions": []}), "false", "own_none"),
    ("registry", own(params={"register": {"mode": "dry_run"}}), "false", "own_none"),
    (
        "registry",
        own(reports={"reports/registration.json": {"rules": [{"rule": "skill", "passed": False}]}}),
        "false",
        "gate_failed",
    ),
    (
        "registry",
        other(told({"t.py": "import mlflow\nmlflow.sklearn.log_model(1, registered_model_name='m')\n"})),
        "true",
        "tool",
    ),
    ("registry", other({"t.py": "import mlflow\nmlflow.sklearn.log_model(1)\n"}), "false", "none"),
    ("training_is_in_ci", own(**in_ci("dvc repro"), with_facts={"runs": GREEN}), "true", "job_green"),
    (
        "training_is_in_ci",
        own(**in_ci("dvc repro"), with_facts={"runs": [run("ci", days=200)]}),
        "false",
        "job_outdated",
    ),
    ("training_is_in_ci", own(**in_ci("dvc repro"), with_facts={"runs": [run("ci", "failure")]}), "false", "job_red"),
    ("training_is_in_ci", own(**in_ci("dvc repro"), with_facts={"runs": [run("other")]}), "false", "job_never"),
    (
        "training_is_in_ci",
        own(**in_ci("dvc repro"), with_facts={"remote": "git@github.com:a/b"}),
        "not_available",
        "job_unknown",
    ),
    (
        "training_is_in_ci",
        own(**in_ci("dvc repro", on="workflow_dispatch"), with_facts={"runs": GREEN}),
        "false",
        "none",
    ),
    ("training_is_in_ci", own(**in_ci("pytest"), with_facts={"runs": GREEN}), "false", "none"),
    ("training_is_in_ci", own(Jenkinsfile="sh 'dvc repro'"), "not_supported", "other_provider"),
    ("training_is_in_ci", own(**{CI: "on: ["}), "error", "unreadable"),
    ("tests_of_everything", own(**in_ci("pytest"), with_facts={"runs": GREEN}), "true", "all"),
    ("tests_of_everything", own(**in_ci("pytest")), "not_available", "job_unpushed"),
    ("tests_of_everything", own(), "false", "unrun"),
    (
        "tests_of_everything",
        own(**in_ci("pytest"), reports={"reports/behaviour.json": {"failed": 1}}),
        "false",
        "behaviour_failed",
    ),
    (
        "tests_of_everything",
        own(**in_ci("pytest"), reports={"reports/behaviour.json": {"failed": 0}}),
        "false",
        "behaviour_empty",
    ),
    (
        "tests_of_everything",
        other({"tests/test_data.py": "def test_x(): pass\n", **in_ci("pytest")}),
        "false",
        "missing",
    ),
    ("tests_of_everything", other({"tests/test_data.py": "x = 1\n", **in_ci("pytest")}), "false", "none"),
    ("search", own(**{"reports/search.csv": "candidate,mean\n1,0.1\n2,0.2\n"}), "true", "own"),
    ("search", own(), "false", "own_off"),
    ("search", other(told({"t.py": "import optuna\noptuna.create_study().optimize(f)\n"})), "true", "tool"),
    ("search", other(told({"t.py": "from sklearn.model_selection import GridSearchCV as G\nG(1)\n"})), "true", "tool"),
    ("search", other({"t.py": "import optuna\n"}), "false", "none"),
    ("search", other({"t.py": "import optuna\n\noptimize(1)\nscipy.optimize(1)\n"}), "false", "none"),
    ("specifications_are_reviewed", own(audit=[entry("approve")]), "true", "approved"),
    (
        "specifications_are_reviewed",
        other({}, subjects=["Add (#3)", "Merge pull request #2 from x", "x"]),
        "true",
        "reviewed",
    ),
    ("specifications_are_reviewed", other({}, subjects=["Add", "Mend", "x"]), "false", "reviewed"),
    ("specifications_are_reviewed", other({}, subjects=["Add"]), "not_available", "young"),
    ("offline_and_online_agree", own(), "true", "agree"),
    ("offline_and_online_agree", own(reports={"reports/metrics.json": {"accuracy": 0.95}}), "false", "differ"),
    ("offline_and_online_agree", own(reports={"reports/drift.json": {"predictions": {}}}), "false", "unlabelled"),
    ("staleness_is_known", own(with_facts={"history": {"reports/drift.json": [1, 30, 60]}}), "true", "history"),
    ("staleness_is_known", own(with_facts={"history": {"reports/drift.json": [1]}}), "false", "few"),
    ("staleness_is_known", own(with_facts={"is_shallow": True}), "not_available", "shallow"),
    ("simpler_is_not_better", own(), "true", "rule"),
    (
        "simpler_is_not_better",
        own(reports={"reports/registration.json": {"rules": [{"rule": "skill", "passed": False}]}}),
        "false",
        "rule",
    ),
    (
        "simpler_is_not_better",
        other(told({"t.py": "from sklearn.dummy import DummyClassifier\nDummyClassifier()\n"})),
        "true",
        "tool",
    ),
    ("simpler_is_not_better", other({}), "false", "none"),
    ("slices", own(), "true", "rule"),
    ("slices", own(params={"register": {"gate": {}}}), "true", "unjudged"),
    ("slices", own(**{"reports/slices.csv": "column,level\n"}), "not_applicable", "no_groups"),
    ("slices", other({}), "false", "none"),
    ("inclusion", own(), "true", "rule"),
    ("inclusion", own(reports={"reports/fairness.json": {"gaps": {"x": None}}}), "not_applicable", "no_groups"),
    ("inclusion", other({}), "false", "none"),
    ("model_code_is_tested", own(**in_ci("tox"), with_facts={"runs": GREEN}), "true", "tests_run"),
    ("model_code_is_tested", own(**in_ci("ruff check")), "false", "tests_unrun"),
    ("deployed_rarely", own(), "true", "never"),
    ("deployed_rarely", own(audit=[entry("promote", days=300)]), "true", "newest"),
    ("deployed_rarely", own(audit=[entry("promote", days=3)]), "false", "newest"),
    ("training_pipeline", own(), "true", "dvc"),
    ("training_pipeline", own(after={"params.yaml": "train: {seed: 1}\n"}), "false", "stale"),
    ("training_pipeline", other({**dvc(), "dvc.lock": ""}), "false", "never_run"),
    ("training_pipeline", other({"p.py": "from kedro.pipeline import Pipeline\nPipeline([])\n"}), "true", "tool"),
    ("training_pipeline", other({"p.py": "import kedro\n"}), "false", "none"),
    ("training_pipeline", own(after={"dvc.yaml": FROZEN}), "false", "stale"),
    ("training_pipeline", other({"MLproject": "", "Snakefile": "# rule\n"}), "false", "none"),
    ("training_pipeline", other({"Snakefile": "rule fit:\n  shell: 'x'\n"}), "true", "tool"),
    (
        "packaged",
        own(with_facts={"versions": [Version("1", NOW.timestamp(), (), {"package_digest": "x"})]}),
        "true",
        "version",
    ),
    ("packaged", own(), "true", "own"),
    (
        "packaged",
        other({"Dockerfile": "FROM python\nRUN pip install -r r.txt\nCMD uvicorn app:app\n"}),
        "true",
        "image",
    ),
    ("packaged", other({"Dockerfile": "FROM python\nCMD bash\n"}), "false", "image_without"),
    ("packaged", other({}), "false", "none"),
    ("staging", own(), "true", "gate"),
    (
        "staging",
        own(reports={"reports/registration.json": {"rules": [{"rule": "skill", "passed": False}]}}),
        "false",
        "gate_failed",
    ),
    ("staging", other(in_ci("databricks bundle deploy -t staging"), runs=GREEN), "true", "job_green"),
    ("staging", other(in_ci("databricks bundle deploy -t prod"), runs=GREEN), "false", "none"),
    ("delivery_is_automatic", own(**in_ci("python -m mlops deliver"), with_facts={"runs": GREEN}), "true", "job_green"),
    ("delivery_is_automatic", own(**in_ci("python -m mlops deliver"), audit=CANARY), "true", "delivered"),
    ("delivery_is_automatic", own(audit=CANARY), "false", "own"),
    (
        "delivery_is_automatic",
        own(**{CI: workflow("make", name="ci"), ".github/workflows/d.yml": AFTER}),
        "not_available",
        "job_unpushed",
    ),
    (
        "delivery_is_automatic",
        other({CI: workflow("ruff", on="schedule"), ".github/workflows/d.yml": AFTER}),
        "false",
        "none",
    ),
    (
        "delivery_is_automatic",
        other(in_ci("kubectl apply -f x", on="{push: {tags: [v*]}}"), runs=GREEN),
        "false",
        "none",
    ),
    (
        "delivery_is_automatic",
        other(in_ci("kubectl apply -f x", more="    if: github.event_name == 'schedule'\n"), runs=GREEN),
        "false",
        "none",
    ),
    (
        "delivery_is_automatic",
        other(in_ci("kubectl apply -f x", more="    continue-on-error: true\n")),
        "false",
        "none",
    ),
    ("delivery_is_automatic", other(in_ci("kubectl apply -f x"), runs=GREEN), "true", "job_green"),
    ("delivery_is_automatic", other(in_ci("echo kubectl apply -f x"), runs=GREEN), "false", "none"),
    ("canary", own(audit=CANARY), "true", "decided"),
    ("canary", own(with_facts={"log": LOG}), "true", "decided"),
    ("canary", own(**{"reports/audit.jsonl": json.dumps({**linked(CANARY)[0], "who": "Eve"})}), "error", "tampered"),
    ("canary", own(audit=[entry("promote", days=400, evidence={"x": 1})]), "false", "own_off"),
    ("canary", own(params={"serving": {"route": "canary"}}), "false", "own_configured"),
    ("canary", other({**MANIFEST, **in_ci("kubectl apply -f k8s")}, runs=GREEN), "true", "job_green"),
    ("canary", other(MANIFEST), "false", "unapplied"),
    ("canary", other({**MANIFEST, "argo.yaml": "apiVersion: argoproj.io/v1alpha1\n"}), "not_available", "cluster"),
    ("canary", other({"k8s/model.yaml": "kind: InferenceService\n# canaryTrafficPercent: 10\n"}), "false", "none"),
    ("canary", other(in_ci("gcloud run deploy --tag x --canary"), runs=GREEN), "true", "job_green"),
    ("rollback", own(audit=[entry("reject", evidence={"errors": 1})]), "true", "rolled_back"),
    ("rollback", own(audit=CANARY), "true", "guarded"),
    ("rollback", own(audit=[entry("rollback")]), "false", "by_hand"),
    ("rollback", own(), "false", "own_off"),
    ("rollback", other(in_ci("helm upgrade x y --atomic"), runs=GREEN), "true", "job_green"),
    ("rollback", other(in_ci("helm upgrade x y"), runs=GREEN), "false", "none"),
    ("can_be_rolled_back", own(audit=[entry("rollback")]), "true", "by_hand"),
    ("can_be_rolled_back", own(), "false", "own_none"),
    ("training_is_reproducible", own(), "true", "locked"),
    ("training_is_reproducible", own(**{"requirements.txt": "numpy\n"}), "false", "unpinned"),
    ("training_is_reproducible", other({"uv.lock": "x\n"}), "false", "no_record"),
    ("pipeline_is_tested_whole", own(**in_ci("dvc repro"), with_facts={"runs": GREEN}), "true", "job_green"),
    ("pipeline_is_tested_whole", own(), "true", "by_hand"),
    (
        "pipeline_is_tested_whole",
        own(**in_ci("dvc repro"), with_facts={"runs": [run("ci", "failure")]}),
        "false",
        "job_red",
    ),
    ("quality_is_judged_before_serving", own(), "true", "passed"),
    ("quality_is_judged_before_serving", other({}), "false", "none"),
    ("model_is_debuggable", own(), "true", "own"),
    ("model_is_debuggable", other({}), "false", "none"),
    ("nothing_is_watched", other({}), "true", "unwatched"),
    ("nothing_is_watched", own(), "false", "watched"),
    ("nobody_is_told", own(), "true", "own_log"),
    ("nobody_is_told", own(params={"alerts": {"channels": ["slack"]}}), "false", "own_told"),
    ("nobody_is_told", other({"rules.yml": "- alert: Down\n"}), "false", "told"),
    ("nobody_is_told", other({"rules.yml": "# - alert: Down\n"}), "true", "nobody"),
    ("performance", own(), "true", "measured"),
    ("performance", own(with_facts={"ages": {"reports/drift.json": 200}}), "false", "watched_long_ago"),
    ("performance", own(reports={"reports/drift.json": {"delivery": {"rows": 1}}}), "false", "unlabelled"),
    (
        "performance",
        other(
            told({"app.py": "import fastapi\nimport prometheus_client as p\nfastapi.FastAPI()\np.Counter('a', 'b')\n"})
        ),
        "true",
        "tool",
    ),
    ("performance", other({}), "false", "none"),
    ("drift", own(), "true", "own"),
    ("drift", own(reports={"reports/drift.json": {"delivery": None, "verdict": ""}}), "false", "no_delivery"),
    ("drift", other({"m.py": "from evidently import Report\nReport([])\n"}), "false", "unpractised"),
    ("drift", other({"m.py": "from evidently import Report\nReport([])\n", **in_ci("python m.py")}), "true", "tool"),
    ("retraining_by_hand", own(), "true", "command"),
    ("retraining_by_hand", other(in_ci("python train.py", on="workflow_dispatch")), "true", "request"),
    ("retraining_by_hand", other({"Makefile": "train:\n\tpython fit.py\n", "fit.py": FIT}), "true", "program"),
    ("retraining_by_hand", other({"fit.py": FIT}), "false", "none"),
    ("retraining_by_hand", own(after={"params.yaml": "train: {seed: 1}\n"}), "false", "none"),
    ("observability", own(params={"alerts": {"channels": ["slack"]}}, audit=CANARY), "true", "own"),
    ("observability", own(params={"alerts": {"channels": ["slack"]}}), "not_available", "own_unseen"),
    ("observability", own(), "false", "own_off"),
    ("observability", other({"rules.yml": "- alert: Down\n"}), "false", "partial"),
    ("observability", other({}), "false", "none"),
    ("retraining_by_itself", own(**{CI: NIGHTLY}, with_facts={"runs": GREEN}), "true", "job_green"),
    ("retraining_by_itself", own(with_facts={"history": {"--grep=^Retrain-Delivery: ": [3]}}), "true", "retrained"),
    (
        "retraining_by_itself",
        own(**{CI: NIGHTLY}, with_facts={"runs": [run("nightly", "skipped")]}),
        "false",
        "job_never",
    ),
    ("retraining_by_itself", own(**{CI: NIGHTLY}), "not_available", "job_unpushed"),
    ("retraining_by_itself", own(**in_ci("python -m mlops retrain")), "false", "own"),
    ("response", own(audit=[entry("reject", evidence={"errors": 1})]), "true", "rolled_back"),
    ("response", own(params={"retrain": {"auto_merge": True}}), "not_available", "own_unseen"),
    ("response", own(), "false", "own_off"),
    (
        "dependencies_notify",
        other({".github/dependabot.yml": "", "a": ""}, remote="git@github.com:a/b"),
        "true",
        "updates",
    ),
    ("dependencies_notify", own(**{".github/dependabot.yml": "version: 2\n"}), "not_available", "unpushed"),
    ("dependencies_notify", own(), "false", "none"),
    ("invariants_hold", own(), "true", "own"),
    ("invariants_hold", own(reports={"reports/drift.json": {"verdict": ""}}), "false", "no_delivery"),
    ("training_and_serving_agree", own(), "true", "behaviour"),
    ("training_and_serving_agree", own(reports={"reports/behaviour.json": {"tests": []}}), "false", "behaviour_none"),
    (
        "models_are_fresh",
        own(params={"retrain": {"oldest_days": 30}}, with_facts={"history": {"dvc.lock": [5]}}),
        "true",
        "fresh",
    ),
    (
        "models_are_fresh",
        own(params={"retrain": {"oldest_days": 30}}, with_facts={"history": {"dvc.lock": [50]}}),
        "false",
        "too_old",
    ),
    ("models_are_fresh", own(), "false", "no_limit"),
    ("numerically_stable", own(), "true", "behaviour"),
    (
        "numerically_stable",
        own(reports={"reports/behaviour.json": {"tests": [{"name": "x", "kind": "robustness", "passed": False}]}}),
        "false",
        "behaviour_failed",
    ),
    ("computing_has_not_got_worse", own(audit=CANARY), "true", "canary"),
    ("computing_has_not_got_worse", own(), "false", "own_off"),
    ("quality_has_not_got_worse", own(), "true", "above"),
    ("quality_has_not_got_worse", own(params={"monitor": {"minimum_accuracy": 0.9}}), "false", "below"),
    ("quality_has_not_got_worse", own(params={"monitor": {"minimum_accuracy": None}}), "false", "no_limit"),
]


@pytest.mark.parametrize(
    ("predicate", "given", "outcome", "case"),
    CASES,
    ids=[f"{name}-{case}-{n}" for n, (name, _, _, case) in enumerate(CASES)],
)
def test_a_predicate_answers(predicate: str, given: Given, outcome: str, case: str) -> None:
    answer = asked(predicate, given())

    assert (answer.outcome, answer.case) == (outcome, case)
    told = answers.finding(predicate, answer, ())
    assert all(told.sentence[language] and "{" not in told.sentence[language] for language in ("en", "ja"))
    if outcome != "true" and case not in (
        "remote",
        "scripts",
        "pipeline",
        "watched",
        "own_told",
        "told",
        "newest",
        "scheduler",
    ):
        assert told.remedy, "what to do is not said"


def test_every_predicate_is_tried_both_ways_but_what_only_people_know() -> None:
    tried = {(name, outcome) for name, _, outcome, _ in CASES}
    known = {predicate.__name__ for area in gathering.AREAS for predicate in area.PREDICATES}
    assert {name for name in known if (name, "true") not in tried} == {"feature_costs"}
    assert {name for name in known if (name, "false") not in tried} == {"feature_costs"}


def test_every_criterion_and_every_item_of_the_test_score_has_a_finding() -> None:
    found = [criterion for finding in gathering.findings(facts(project())) for criterion in finding.criteria]

    criteria = {f"{level}.{name}" for level, names in NAMES.items() for name in names.split()}
    assert set(found) == criteria | {f"{section}.{number}" for section in SECTIONS for number in range(1, 8)}


def test_every_text_has_the_same_gaps_in_both_languages() -> None:
    def texts(content: Any, place: str) -> list[tuple[str, Mapping[str, str]]]:
        if not isinstance(content, dict):
            return []
        own = [(place, content)] if "en" in content else []
        return own + [found for name, one in content.items() for found in texts(one, f"{place}.{name}")]

    found = texts(answers.sentences(), "")
    assert len(found) > 200
    for place, text in found:
        gaps = [set(re.findall(r"\{(\w+)\}", text[language])) for language in ("en", "ja")]
        assert gaps[0] == gaps[1], place
    known = {predicate.__name__ for area in gathering.AREAS for predicate in area.PREDICATES}
    assert set(answers.sentences()) - known == {answers.SHARED}


def test_level_1_is_all_true_in_a_project_whose_results_are_current() -> None:
    found = gathering.findings(facts(project()))

    level = {finding.criteria[0]: finding.outcome for finding in found if finding.criteria[0].startswith("1.")}
    assert len(level) == 12
    assert set(level.values()) == {"true"}


def test_level_2_is_all_true_in_a_project_where_all_of_it_runs() -> None:
    files = project(
        params={
            "features": {"tables": {"orders": {}}},
            "alerts": {"channels": ["slack"]},
            "serving": {"route": "canary"},
            "retrain": {"auto_merge": True, "search_trials": 20},
        },
        **{
            CI: workflow("pytest", "dvc repro"),
            ".github/workflows/nightly.yml": NIGHTLY,
            ".github/workflows/deliver.yml": AFTER,
        },
    )
    history = {"--grep=^Retrain-Delivery: ": [2, 9]}
    runs, log = [*GREEN, run("deliver")], kept(*CANARY, entry("reject", evidence={"errors": 9}))
    found = gathering.findings(facts(files, runs=runs, remote="git@github.com:a/b", history=history, log=log))

    level = {one.criteria[0]: (one.outcome, one.automatic) for one in found if one.criteria[0].startswith("2.")}
    assert len(level) == 12
    assert set(level.values()) == {("true", True)}


def test_a_point_of_the_test_score_needs_a_system_that_runs_it() -> None:
    files = project(**in_ci("dvc repro"))
    github = "git@github.com:a/b"

    def automatic(**more: Any) -> bool:
        """Of what the pipeline does; all of it is the same."""
        found = [asked(name, facts(files, **more)) for name in ("data_checks", "slices", "numerically_stable", "drift")]
        assert {answer.outcome for answer in found} == {"true"}
        [same] = {answer.automatic for answer in found}
        return same

    assert automatic(runs=GREEN, remote=github)
    assert automatic(remote=github)  # nobody knows, and that is no fault
    assert automatic(history={"--grep=^Retrain-Delivery: ": [3]})
    assert not automatic()  # there is no host that could run it
    assert not automatic(runs=[run("ci", "failure")], remote=github)


def test_an_opposite_says_the_contrary_with_the_same_words() -> None:
    found = {finding.predicate: finding for finding in gathering.findings(facts({}))}

    assert found["data_versions"].outcome == "false"
    assert found["no_data_versions"].outcome == "true"
    assert found["no_data_versions"].sentence == found["data_versions"].sentence
    assert found["no_data_versions"].remedy == found["data_versions"].remedy
    own = {finding.predicate: finding for finding in gathering.findings(facts(project()))}
    assert (own["no_data_versions"].outcome, own["no_data_versions"].remedy) == ("false", None)


def test_without_access_nothing_is_punished() -> None:
    files = project(**{CI: workflow("dvc repro", "pytest"), ".github/workflows/n.yml": NIGHTLY})
    seen = {
        finding.predicate: finding for finding in gathering.findings(facts(files, runs=[], remote="git@github.com:a/b"))
    }
    unseen = {finding.predicate: finding for finding in gathering.findings(facts(files, remote="git@github.com:a/b"))}

    for name in ("training_is_in_ci", "retraining_by_itself", "data_arrives_by_itself", "quality_is_watched"):
        assert (seen[name].outcome, unseen[name].outcome) == ("false", "not_available"), name
    worse = {name for name, finding in unseen.items() if finding.outcome == "false" and seen[name].outcome != "false"}
    assert worse == set()


def test_what_was_not_looked_at_is_not_called_missing() -> None:
    found = facts({"a.py": "x = 1\n"}, deadline=-1.0)
    found.repository.truncated = True

    assert {asked(name, found).outcome for name in ("tracker", "search", "packaged")} == {"not_available"}


def test_a_full_page_of_runs_does_not_prove_that_an_older_one_is_missing() -> None:
    runs = [run("other") for _ in range(100)]

    assert asked("training_is_in_ci", facts(in_ci("dvc repro"), runs=runs)).outcome == "not_available"


def test_a_predicate_that_fails_is_an_error_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def lineage(_: Facts) -> answers.Answer:
        raise KeyError("x")

    predicates = {lineage if one.__name__ == "lineage" else one: ids for one, ids in gathering.data.PREDICATES.items()}
    monkeypatch.setattr(gathering.data, "PREDICATES", predicates)
    monkeypatch.setattr(gathering.data, "OPPOSITES", {})

    found = {finding.predicate: finding for finding in gathering.findings(facts(project()))}
    assert (found["lineage"].outcome, found["data_checks"].outcome) == ("error", "true")


@pytest.mark.parametrize(
    "text",
    [
        workflow("# pytest"),
        workflow("echo pytest"),
        workflow("pytest || true"),
        workflow("pytest", more="    if: false\n"),
        workflow("pytest").replace("- run:", "- continue-on-error: true\n        run:"),
        workflow("pip install pytest"),
        workflow("grep pytest requirements.txt"),
        workflow("cat <<END\npytest\nEND"),
    ],
)
def test_a_workflow_that_does_not_run_the_tests_counts_for_nothing(text: str) -> None:
    files = project(**{CI: text})

    assert asked("model_code_is_tested", facts(files, runs=GREEN)).case == "tests_unrun"


@pytest.mark.parametrize(
    "files",
    [
        in_ci("make check"),
        in_ci("bash scripts/ci.sh"),
        in_ci("poetry run python -m pytest -q"),
        in_ci("conda run -n env pytest"),
        in_ci("set -e\nexport X=1 && pytest tests # all"),
        {CI: workflow().replace("steps:", "steps:\n      - uses: ./.github/actions/test")},
        {
            CI: "name: ci\non: push\njobs:\n  a:\n    uses: ./.github/workflows/tests.yml\n",
            ".github/workflows/tests.yml": workflow("pytest", on="workflow_call", name="ci"),
        },
        {".gitlab-ci.yml": ".base: &base\n  script: [pytest]\nci:\n  <<: *base\n"},
        {".gitlab-ci.yml": ".base:\n  script:\n  - !reference [.x, y]\n  - pytest\nci:\n  extends: .base\n"},
        {".gitlab-ci.yml": "include:\n- local: /ci/tests.yml\n", "ci/tests.yml": "ci:\n  script: pytest\n"},
    ],
)
def test_tests_are_found_wherever_a_workflow_calls_them(files: dict[str, str]) -> None:
    given = {
        "Makefile": "X := 1\ncheck: lint\n\t@python -m pytest\n\nlint:\n\truff check\n",
        "scripts/ci.sh": "#!/bin/sh\nset -e\npython -m pytest\n",
        ".github/actions/test/action.yml": "runs:\n  using: composite\n  steps:\n  - {run: pytest, shell: bash}\n",
    }

    answer = asked("model_code_is_tested", facts(project(**given, **files), runs=GREEN))
    assert (answer.outcome, answer.automatic) == ("true", True)


def test_repositories_of_other_kinds_are_judged_by_what_they_do() -> None:
    notebooks = {"eda.ipynb": notebook("import sklearn\n", "sklearn.A().fit(1)"), "data/all.csv": "1,2\n" * 9000}
    science = {  # as cookiecutter-data-science begins
        "Makefile": "data: requirements\n\tpython src/dataset.py\n\ntrain:\n\tpython src/modeling/train.py\n",
        "src/dataset.py": "import typer\n\napp = typer.Typer()\n",
        "src/modeling/train.py": "import typer\n\napp = typer.Typer()\n",
        "tests/test_data.py": "def test_code_is_tested():\n    assert False\n",
        "requirements.txt": "typer\n",
    }
    stack = {  # as mlops-stacks does it
        "databricks.yml": "bundle: {name: churn}\ninclude: [resources/*.yml]\n",
        "resources/model.yml": "resources:\n  registered_models:\n    model: {name: churn}\n",
        "resources/jobs.yml": "tasks:\n- notebook_task:\n    notebook_path: ../training/train.py\n"
        "- notebook_task:\n    notebook_path: ../features/compute.py\n",
        "training/train.py": "import mlflow\n\nmlflow.autolog()\nmlflow.lightgbm.log_model(1, 'model')\n",
        "features/compute.py": "import databricks.feature_engineering as f\n\nf.FeatureEngineeringClient()\n",
        "tests/training/train_test.py": "def test_train():\n    pass\n",
        ".github/workflows/tests.yml": workflow("pytest", "databricks bundle run train -t test", name="tests"),
        ".github/workflows/staging.yml": workflow(
            "databricks bundle deploy -t staging", on="{push: {branches: [main]}}", name="cd"
        ),
    }
    handmade = {
        **dvc(),
        "train.py": "print()\n",
        "Makefile": "log:\n\tpython log.py\n",
        "log.py": MLFLOW,
        **in_ci("dvc pull", "dvc repro", "pytest"),
        "raw.dvc": "outs: [{md5: a, path: raw}]",
    }

    def true(found: Facts) -> set[str]:
        return {
            criterion
            for finding in gathering.findings(found)
            for criterion in finding.criteria
            if finding.outcome == "true" and criterion[0] in "012"
        }

    assert true(facts({})) == {
        name for name in true(facts(notebooks)) if "local" not in name and "notebooks" not in name
    }
    assert {"0.data.local_files", "0.model.notebooks"} <= true(facts(notebooks))
    assert {name for name in true(facts(science)) if name[0] in "12"} == set()
    assert {name for name in true(facts(stack, runs=[run("tests"), run("cd")])) if name[0] in "12"} == {
        *("1.model.tracker", "1.model.recorded", "1.model.registry"),
        *("1.deployment.pipeline", "1.deployment.packaged", "1.deployment.staging", "1.monitoring.retraining_by_hand"),
        *("2.data.feature_store", "2.model.ci", "2.deployment.automatic"),
    }
    assert {name for name in true(facts(handmade, runs=GREEN)) if name[0] in "12"} == {
        *("1.data.versioning", "1.data.checks", "1.data.lineage", "1.model.tracker", "1.model.recorded"),
        *("1.deployment.pipeline", "1.monitoring.retraining_by_hand", "2.model.ci"),
    }


CALL = "import mlflow\nmlflow.autolog()\n"
LIBRARY = {"pkg/__init__.py": "", "pkg/log.py": CALL, "run.py": "from pkg import (\n    log,\n)\n"}


@pytest.mark.parametrize(
    ("files", "rank"),
    [
        ({**LIBRARY, **in_ci("python run.py")}, SYSTEM),
        ({**LIBRARY, "pkg/go.py": "from . import log\n", **in_ci("python -m pkg.go")}, SYSTEM),
        ({**LIBRARY, "pkg/__main__.py": "from .log import x\n", **in_ci("python -m pkg")}, SYSTEM),
        ({**LIBRARY, "dvc.yaml": "stages: {fit: {cmd: torchrun --nproc 2 run.py}}\n"}, SYSTEM),
        ({**LIBRARY, "pyproject.toml": '[project.scripts]\nfit = "run:main"\n', **in_ci("fit")}, SYSTEM),
        ({**LIBRARY, "pyproject.toml": '[project.scripts]\nfit = "run:main"\n'}, CONFIGURED),
        ({**LIBRARY, "Makefile": "fit:\n\t$(PYTHON) run.py\n"}, CONFIGURED),
        ({**LIBRARY, "tox.ini": "[testenv:fit]\ncommands = python run.py\n"}, CONFIGURED),
        ({**LIBRARY, "noxfile.py": 'session.run("python", "-u", "run.py")\n'}, CONFIGURED),
        ({**LIBRARY, "Snakefile": 'rule fit:\n    script:\n        "run.py"\n'}, CONFIGURED),
        ({**LIBRARY, "docker/Dockerfile": 'CMD ["python", "/app/run.py"]\n'}, CONFIGURED),
        ({**LIBRARY, "k8s.yaml": "command:\n- python\n- run.py\n"}, CONFIGURED),
        ({**LIBRARY, "Dockerfile": "CMD uvicorn --port 80 pkg.log:app\n"}, CONFIGURED),
        ({**LIBRARY, "dag.py": "from airflow import DAG\nimport run\n"}, CONFIGURED),
        ({**LIBRARY, "README.md": "Train with `python run.py --seed 1`.\n"}, HAND),
        ({**LIBRARY, "n.ipynb": notebook("import run\n").replace('"source"', '"execution_count": 3, "source"')}, HAND),
        (LIBRARY, NOTHING),
        ({**LIBRARY, "tests/test_log.py": "import pkg.log\n", **in_ci("pytest")}, NOTHING),
        ({**LIBRARY, **in_ci("python run.py", more="    if: false\n")}, NOTHING),
        ({**LIBRARY, "Makefile": "fit:\n\t# python run.py\n\t@echo python run.py\n"}, NOTHING),
        ({**LIBRARY, "Makefile": "lint:\n\tpython -m black run.py\n\truff check run.py\n"}, NOTHING),
        ({**LIBRARY, "README.md": "It is written in python, see run.py\n"}, NOTHING),
        ({**LIBRARY, "n.ipynb": notebook("import run\n")}, NOTHING),
        ({**LIBRARY, "run.py": "__import__('pkg.log')\n", **in_ci("python run.py")}, NOTHING),
    ],
)
def test_a_call_counts_where_something_runs_its_file(files: dict[str, str], rank: int) -> None:
    found = facts(files)

    assert found.code.rank("pkg/log.py") == rank
    answer = asked("tracker", found)
    assert answer.case == ("unpractised" if rank == NOTHING else "tool")
    assert (answer.sources[0].what, answer.sources[0].line) == ("pkg/log.py", 2)
    baseline = {**files, "pkg/log.py": "import sklearn.dummy as d\nd.DummyClassifier()\n"}
    assert asked("simpler_is_not_better", facts(baseline)).automatic == (rank == SYSTEM)


TOML = {
    "pyproject.toml": '[tool.hatch.envs.x.scripts]\nfit = ["go --x"]\ngo = "dvc repro"\n'
    '[tool.pdm.scripts]\nfit = {composite = ["go"]}\ngo = {cmd = ["dvc", "repro"]}\n[tool.pixi.tasks]\n'
    'fit = {cmd = "true", depends-on = ["go"]}\ngo = "dvc repro"\n[tool.poe.tasks]\nfit.shell = "dvc repro"\n',
    "sub/Makefile": "all:\n\ttrue\nfit: go\ngo:\n\tdvc repro\n",
    "justfile": "go:\n    dvc repro\n",
    "tasks.py": "@task\ndef run_it(c):\n    c.run(f'dvc repro {x}')\n\n@task(run_it)\ndef fit(c):\n    pass\n",
    "noxfile.py": "def fit(session):\n    session.run('dvc', 'repro')\n",
    "tox.ini": "[testenv]\ncommands = pytest {posargs}\n[testenv:fit]\ncommands =\n    dvc repro\n",
}


@pytest.mark.parametrize(
    ("command", "case"),
    [
        *((f"{runner} fit", "job_green") for runner in ("hatch run", "pdm run", "pixi run", "poe", "inv")),
        *((one, "job_green") for one in ("hatch run x:fit", "python -m invoke fit", "invoke run-it", "just go")),
        *((one, "job_green") for one in ("make -C sub fit", "make -j 4 -C sub go fit", "nox -s fit", "tox -e fit")),
        *((one, "none") for one in ("tox -e py", "make -C sub", "hatch run ruff check", "uv run ruff", "poetry run x")),
        *((one, "unresolved") for one in ("inv other", "make other", "make -C nowhere fit", "just other", "poe x")),
    ],
)
def test_a_task_is_what_the_repository_defines(command: str, case: str) -> None:
    assert asked("training_is_in_ci", facts({**TOML, **in_ci(command)}, runs=GREEN)).case == case


def test_a_task_without_a_definition_is_not_judged() -> None:
    for command in ("hatch run fit", "pixi run fit", "pdm run fit", "just", "inv fit"):
        answer = asked("training_is_in_ci", facts(in_ci("ruff", command)))
        assert (answer.outcome, answer.sources[0].line) == ("not_supported", 8)
    assert asked("tracker", facts({"t.py": MLFLOW, **in_ci("inv fit")})).outcome == "not_supported"


def test_an_alert_that_nothing_runs_tells_nobody() -> None:
    alert = {"a.py": "import apprise\napprise.Apprise().notify()\n"}

    assert asked("nobody_is_told", facts(told(alert))).case == "told"
    unrun = asked("nobody_is_told", facts(alert))
    assert (unrun.outcome, unrun.case) == ("true", "unpractised")


def test_sources_have_the_path_the_line_and_the_age() -> None:
    files = project(**{CI: workflow("ruff check", "dvc repro")})
    found = facts(files, ages={CI: 12})

    [source] = asked("training_is_in_ci", found).sources
    assert (source.kind, source.what, source.line, source.age_days) == ("workflow", CI, 8, 12)
    assert files[CI].splitlines()[7].strip() == '- run: "dvc repro"'
    [source] = asked("canary", found).sources
    assert files["params.yaml"].splitlines()[source.line - 1].strip() == "route: champion"
    book = notebook("import mlflow\n", "mlflow.autolog()")
    [source] = asked("tracker", facts({"n.ipynb": book})).sources
    assert "mlflow.autolog()" in book.splitlines()[source.line - 1]


def test_texts_and_loops_that_would_take_forever_do_not() -> None:
    needs = ", ".join(f"job{n}" for n in range(30))
    calls = "".join(f"bash s{n}.sh\n" for n in range(50))
    includes = ", ".join(f"{{local: i{n}.yml}}" for n in range(50))
    files = {
        "Makefile": "a" + " " * 500_000 + "\n" + "b: \n" * 1000,
        "Dockerfile": "\n" * 500_000 + "RUN x \\\n" * 50_000,
        "train.py": "import " * 100_000 + "\n# import mlflow",
        "setup.py": "a" * 500_000,
        "imports.py": "from a import (\n" * 30_000,
        "run.yaml": "- uvicorn -a python\n" * 20_000,
        "k8s.yml": "kind: InferenceService\n" + " " * 500_000 + "\n",
        CI: "on: push\njobs:\n"
        + "".join(f"  job{n}: {{needs: [{needs}], steps: [{{run: bash s0.sh}}, {{run: make}}]}}\n" for n in range(30)),
        **{f"s{n}.sh": calls for n in range(50)},
        ".gitlab-ci.yml": f"include: [{includes}]\n",
        **{f"i{n}.yml": f"include: [{includes}]\nj{n}: {{extends: [{needs}], script: [x]}}\n" for n in range(50)},
        ".github/workflows/long.yml": workflow("sudo " * 200_000),
    }

    found = gathering.findings(facts(files))

    assert {one.outcome for one in found} <= {"true", "false", "not_available"}


def test_values_of_any_shape_are_no_fault_of_a_predicate() -> None:
    odd: list[Any] = [None, 5, -1.5, "text", [], [1], {}, {"a": {}}, True, [[1]]]
    draw = random.Random(7)

    def changed(value: Any) -> Any:
        if draw.random() < 0.12:
            return draw.choice(odd)
        if isinstance(value, dict):
            return {name: changed(one) for name, one in value.items()}
        return [changed(one) for one in value] if isinstance(value, list) else value

    audit = [*CANARY, entry("reject", evidence=1), entry("approve"), entry("rollback")]
    for _ in range(25):
        reports = {name: changed(report) for name, report in REPORTS.items()}
        params = {name: {key: changed(one) for key, one in section.items()} for name, section in PARAMS.items()}
        entries = [made for one in audit if isinstance(made := changed(one), dict)]
        files = project(reports=reports, params=params, audit=entries)
        ci = json.dumps(
            changed({"on": ["push"], "jobs": {"a": {"needs": ["b"], "if": "x", "steps": [{"run": "pytest"}]}}})
        )
        lab = json.dumps(
            changed({"include": [{"local": "x"}], "a": {"rules": [{"if": "x"}], "extends": ["b"], "script": ["x"]}})
        )

        found = gathering.findings(facts({**files, CI: ci, ".gitlab-ci.yml": lab}))

        assert [one.sentence["en"] for one in found if "could not be judged" in one.sentence["en"]] == []


def test_a_project_in_a_folder_is_one_of_this_kind_too() -> None:
    files = {f"team/churn/{path}": text for path, text in project().items()} | in_ci("pytest")

    found = gathering.findings(facts(files))

    assert {one.outcome for one in found if one.criteria[0].startswith("1.")} == {"true"}
    [drift] = [one for one in found if one.predicate == "drift"]
    assert drift.sources[0].what == "team/churn/reports/drift.json"


def test_a_step_that_a_green_run_has_skipped_was_not_done() -> None:
    text = workflow("dvc repro").replace("- run:", "- name: Stale\n        if: secrets\n        run:")

    def outcome(steps: dict[tuple[str, str], str] | None) -> tuple[str, str]:
        found = facts(project(**{CI: text}), runs=GREEN, remote="git@github.com:a/b")
        vars(found)["steps"] = lambda _: steps
        answer = asked("training_is_in_ci", found)
        return answer.outcome, answer.case

    assert outcome({("work", "Stale"): "success", ("work", ""): "success"}) == ("true", "job_green")
    assert outcome({("work", "Stale"): "skipped", ("work", ""): "success"}) == ("false", "job_skipped")
    assert outcome({("work", ""): "skipped"}) == ("false", "job_skipped")
    assert outcome(None) == ("not_available", "job_unknown")


def test_what_switches_a_job_on_is_named() -> None:
    files = project(**{CI: workflow("make", name="ci"), ".github/workflows/deliver.yml": AFTER})
    found = gathering.findings(facts(files, runs=[run("deliver", "skipped")]))

    [delivery] = [one for one in found if one.predicate == "delivery_is_automatic"]
    assert "DELIVER" in delivery.sentence["en"]
    assert delivery.remedy is not None
    assert "DELIVER" in delivery.remedy["ja"]


def test_every_way_in_which_a_lock_is_stale_is_found() -> None:
    def reason(**after: str) -> str:
        answer = asked("training_pipeline", facts(project(after=after)))
        return str(answer.values.get("reason", answer.case))

    read = project()["dvc.yaml"]
    assert reason() == "dvc"
    assert reason(**{"dvc.yaml": read.replace("stages.train", "stages.other", 1)}) == "the command of train has changed"
    assert reason(**{"stages/train.py": "x\n"}) == "stages/train.py has changed since train was run"
    assert reason(**{"mlops/base/code.py": "x\n"}) == "mlops/base has changed since train was run"
    assert reason(**{"mlops/base/more.py": "x\n"}) == "mlops/base has changed since train was run"
    assert reason(**{"mlops/base/__pycache__/code.pyc": "x\n"}) == "dvc"
    assert reason(**{"params.yaml": "train: {seed: 7}\n"}) == "the parameter train has changed since train was run"
    moved = "outs: [{md5: '9', path: raw}]\n"
    assert reason(**{"data/raw.dvc": moved}) == "data/raw has changed since train was run"
    assert reason(**{"dvc.yaml": read + "  more:\n    cmd: x\n"}) == "more was never run: dvc.lock lacks it"


def test_of_several_projects_the_one_that_was_asked_about_is_judged() -> None:
    stale = project(after={"stages/train.py": "changed\n"})
    files = {f"mono/alpha/{path}": text for path, text in project().items()}
    files |= {f"mono/beta/{path}": text for path, text in stale.items() if not path.startswith("tests/")}
    at = "    defaults: {run: {working-directory: mono/%s}}\n"
    files[CI] = workflow("dvc repro", more=at % "alpha")

    def said(folder: str) -> tuple[str, str, str]:
        found = facts(files, runs=GREEN, asked=folder)
        assert found.own
        names = ("training_pipeline", "training_is_in_ci", "tests_of_everything")
        first, second, third = (asked(name, found).case for name in names)
        return f"{found.own.folder} {first}", second, third

    assert said("mono/alpha") == ("mono/alpha dvc", "job_green", "unrun")
    assert said("mono/beta/stages") == ("mono/beta stale", "none", "report_outdated")
    assert said("") == said("mono/alpha")


def test_a_copy_of_the_audit_log_proves_less_than_the_registry() -> None:
    def said(**more: Any) -> tuple[str, bool]:
        answer = asked("canary", facts(project(audit=CANARY), **more))
        return answer.case, answer.automatic

    version = Version("1", NOW.timestamp(), ())
    assert said() == ("decided", False)
    assert said(log=[]) == ("decided", False)  # a registry without this model is another one
    assert said(log=kept(*CANARY)) == ("decided", True)
    assert said(log=kept(entry("approve"))) == ("own_off", False)
    assert said(log=[], versions=[version]) == ("own_off", False)


@pytest.mark.parametrize("when", ["2099-01-01T00:00:00+00:00", "soon", None])
def test_an_audit_log_with_an_impossible_time_proves_nothing(when: str | None) -> None:
    files = project(audit=[{**CANARY[0], "when": when}], **in_ci("python -m mlops deliver"))

    for name in ("canary", "rollback", "can_be_rolled_back", "delivery_is_automatic"):
        answer = asked(name, facts(files, runs=GREEN))
        assert (answer.outcome, answer.case) == ("error", "tampered")
        assert str(when) in answer.values["reason"]


@pytest.mark.parametrize(
    "script",
    [
        *("dvc repro --dry", "dvc repro --help", "dvc --version", "pytest --collect-only", "pytest --co -q"),
        *("terraform apply --help", "helm upgrade x y --dry-run", "kubectl apply -f x --dry-run=client"),
        *("kubectl apply --dry-run client -f x", "make -n all", "python train.py -h", "bash -n ci.sh"),
        *("true || dvc repro", ": || pytest", "false && dvc repro", "false && x && pytest", "exit 0\npytest"),
        *("if false; then\n  dvc repro\nfi", "if false; then pytest; fi", "while false; do\npytest\ndone"),
        *("run() {\n  dvc repro\n}", "function run {\n  pytest; }", "run()\n{\npytest\n}", "run() { pytest; }"),
        *("bash -c 'dvc repro --dry'", 'sh -ec "false && pytest"'),
    ],
)
def test_a_command_that_does_nothing_is_none(script: str) -> None:
    assert [one.text for one in commands(script) if one.deed or one.script or one.tasks] == []


@pytest.mark.parametrize(
    ("script", "deeds"),
    [
        ("dvc repro\npytest --durations 5", "pipeline test"),
        ("true && pytest; false || dvc repro", "test pipeline"),
        ("kubectl apply -f x --dry-run=none", "deliver"),
        ("helm upgrade x y --version 1.2", "deliver"),
        ("if false; then\necho\nelse\npytest\nfi\ndvc repro", "test pipeline"),
        ("if [ -f x ]; then pytest; fi", "test"),
        ("run() {\n  dvc repro\n}\nrun", "pipeline"),
        ("if false; then\n  exit 0\nfi\npytest", "test"),
        ("case $1 in\na)\n  exit 0\n;;\nesac\npytest", "test"),
        ("bash -ec 'cd x && pytest; dvc repro'", "test pipeline"),
        ("set +e\npytest\ncode=$?\nexit $code", "test"),
        ("set +e\npytest", "test"),
        ("set +e\npytest\nset -e\ndvc repro", "pipeline"),
        ("pytest || exit 0\npytest || exit 1", "test"),
        ("awk '{print}' x; echo 'a;b' && pytest", "test"),
    ],
)
def test_a_command_that_a_shell_reaches_is_one(script: str, deeds: str) -> None:
    assert " ".join(one.deed for one in commands(script) if one.deed and not one.tolerated) == deeds


def test_a_green_run_of_a_proposed_change_is_no_delivery() -> None:
    files = in_ci("kubectl apply -f x", "pytest")
    proposed = run("ci", event="pull_request", branch="idea")

    assert asked("delivery_is_automatic", facts(files, runs=[proposed])).case == "job_never"
    assert asked("delivery_is_automatic", facts(files, runs=[proposed, run("ci", days=3)])).case == "job_green"
    tested = asked(
        "model_code_is_tested", facts({**files, "tests/test_model.py": "def test_x(): pass"}, runs=[proposed])
    )
    assert tested.outcome == "true"


def test_one_day_is_not_called_days() -> None:
    for days, said in ((1, " 1 day ago"), (2, " 2 days ago"), (21, " 21 days ago")):
        found = facts(project(**in_ci("dvc repro")), runs=[run("ci", days=days)])
        told = answers.finding("training_is_in_ci", asked("training_is_in_ci", found), ())
        assert said in told.sentence["en"]


@pytest.mark.parametrize(
    "files",
    [
        {CI: "on: push\njobs:\n  a:\n    uses: org/shared/.github/workflows/x.yml@v1\n"},
        {".gitlab-ci.yml": "include:\n- project: org/shared\n  file: x.yml\n"},
        {".gitlab-ci.yml": "include: {remote: 'https://host/x.yml'}\n"},
        {".gitlab-ci.yml": "include: 'https://host/x.yml'\n"},
    ],
)
def test_a_workflow_of_another_repository_is_not_judged(files: dict[str, str]) -> None:
    answer = asked("training_is_in_ci", facts(files, runs=GREEN))

    assert (answer.outcome, answer.case) == ("not_supported", "foreign")
    assert answer.sources[0].what in files


def test_the_run_that_counts_is_that_of_the_main_branch() -> None:
    runs = [run("ci", branch="develop"), run("ci", "failure", days=670)]

    def case(branch: str, *more: Any) -> str:
        return asked("training_is_in_ci", facts(in_ci("dvc repro"), runs=[*more, *runs], branch=branch)).case

    assert case("develop") == "job_green"
    assert case("") == "job_green"
    assert case("main") == "job_red"
    assert case("", run("ci", "failure", days=2)) == "job_red"


@pytest.mark.parametrize(
    "command",
    [
        *("hatch run pytest", "hatch test", "pdm run pytest", "pdm test", "pdm run test", "inv test", "mise run test"),
        *("tox", "nox -s x", "bazel test //...", "pants test ::", "python -X dev -m pytest", '"$PYTHON" -m pytest'),
        *("uv run --directory x pytest", "${PYTHON} -m pytest", "bash -c 'pytest -q'"),
    ],
)
def test_tests_are_known_by_whatever_runs_them(command: str) -> None:
    assert "test" in [one.deed for one in commands(command)]
