"""A merge to main becomes production by the commands of the workflow, as GitHub would run them.

All of it is real: a bare Git remote, an S3 endpoint, the registry, and the model server with somebody who asks it.
"""

import hashlib
import json
import re
import tarfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests import services
from tests.conftest import BakedProject, bake_copy
from tests.projects import Team, answers, change, commit, questions, succeeds
from tests.services import ADMIN_KEY, ADMIN_KEYS, BUCKET, S3, SHORT_CANARY

pytestmark = pytest.mark.xdist_group("servers")  # one worker starts them


def upload(project: BakedProject, s3: S3, folder: str) -> str:
    """Copy the project's DVC cache to S3, as `dvc push` would; the `.dvc/config.local` that leads there."""
    cache = project.path / ".dvc" / "cache"
    for path in (cache / "files").rglob("*"):
        if path.is_file():
            s3.bucket.upload_file(str(path), f"{folder}/{path.relative_to(cache).as_posix()}")
    lines = {"url": f"s3://{BUCKET}/{folder}", "endpointurl": s3.url, "region": "us-east-1"}
    lines |= {"access_key_id": s3.key_id, "secret_access_key": s3.key}
    return "['remote \"storage\"']\n" + "".join(f"    {name} = {value}\n" for name, value in lines.items())


def workflow(project: BakedProject, job: str, known: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The scripts of a job's steps with their variables, but for the packages, which are there, and the image."""
    content = YAML(typ="safe").load(project.read(".github/workflows/deliver.yml"))

    def filled(text: object) -> str:
        return re.sub(r"\$\{\{ (?:secrets|vars)\.(\w+) \}\}", lambda found: known.get(found[1], ""), str(text))

    steps = [step for step in content["jobs"][job]["steps"] if "pip install" not in step.get("run", "pip install")]
    steps = [step for step in steps if step.get("if") != "vars.MODEL_IMAGE != ''"]
    return [(step["run"], {name: filled(text) for name, text in step.get("env", {}).items()}) for step in steps]


def test_a_merge_is_packaged_and_promoted_by_its_canary_and_a_bad_one_is_rolled_back(
    stricter: BakedProject, s3: S3, tmp_path: Path
) -> None:
    team = Team(bake_copy(stricter, tmp_path), None)
    project = team.project
    for number in "12":
        answers(team("bob"), "approve", number, "--reason", "looked at it")
        remade(team, number)
    answers(team("ada"), "promote", "1", "--reason", "the first one")
    for name, value in SHORT_CANARY.items():
        change(project, "serving", name, value)
    commit(project, "Short canaries")
    succeeds(project, "git", "clone", "--quiet", "--bare", ".", "../remote.git")
    succeeds(project, "git", "clone", "--quiet", "../remote.git", "../runner")
    summary = tmp_path / "summary.md"
    runner = BakedProject(tmp_path / "runner", "").with_env(
        MLFLOW_TRACKING_URI=f"sqlite:///{project.path.as_posix()}/mlflow.db",
        XDG_STATE_HOME=str(tmp_path / "state"),  # it trusts nobody yet
        GITHUB_STEP_SUMMARY=str(summary),
        CI="true",
    )
    known = {"DVC_CONFIG_LOCAL": upload(project, s3, "delivery"), "MLOPS_ADMIN_KEY": ADMIN_KEY}

    def run(job: str, only: slice = slice(None)) -> list[int]:
        """The exit codes of steps of a job, up to the first that fails."""
        codes: list[int] = []
        for script, env in workflow(runner, job, known)[only]:
            done = runner.with_env(**env).run("bash", "-eo", "pipefail", "-c", script)
            codes.append(done.returncode)
            if done.returncode:
                print(done.stdout + done.stderr)
                break
        return codes

    with services.model(team("ada"), tmp_path / "server", "--poll", "1", **ADMIN_KEYS) as server:
        known["MLOPS_SERVER_URL"] = server.url
        assert run("package") == [0, 0, 0]
        package, production = (workflow(runner, job, known) for job in ("package", "production"))
        assert package[1] == production[1]  # which has the same remote, model and trust: that is here already
        with services.asked(server, questions(project)):
            assert run("production", only=slice(2, None)) == [0]

        assert "**Version 2 is in production, instead of version 1.**" in summary.read_text()
        assert in_production(team) == "2"
        with tarfile.open(runner.path / "package.tar.gz") as archive:
            archive.extractall(tmp_path / "unpacked", filter="data")
        [folder] = (tmp_path / "unpacked").iterdir()  # named after model and version
        assert_whole(folder, project)

        # Main goes back to the first result, and now whoever knows the truth says that its answers are wrong.
        ada = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
        succeeds(project, "git", *ada, "revert", "--no-edit", "HEAD~1")
        succeeds(project, "git", "push", "--quiet", "../remote.git", "HEAD:main")
        succeeds(runner, "git", "pull", "--quiet")
        assert run("production", only=slice(2)) == [0, 0]
        by_ada = runner.with_env(**{name: known[name] for name in ("MLOPS_SERVER_URL", "MLOPS_ADMIN_KEY")})
        with services.asked(server, questions(project), wrong="1"):
            done = by_ada.call("deliver")

    assert done.returncode == 3, done.stderr
    assert "**Version 1 was rolled back: version 2 is in production.**" in done.stdout
    assert "wrong answers" in done.stdout
    assert in_production(team) == "2"
    entries = json.loads(answers(team("rita"), "registry", "history", "--json"))["entries"]
    decided = [(entry["action"], entry["to"]) for entry in entries if entry["action"] in ("promote", "reject")]
    assert decided == [("promote", "1"), ("promote", "2"), ("reject", "1")]


def remade(team: Team, number: str) -> None:
    """Let a version say that it was made again, which takes as long as to make it."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{team.project.path / 'mlflow.db'}")
    client.set_model_version_tag(team.name, number, "remade", "identical bytes, in a test")


def in_production(team: Team) -> str:
    (number,) = (str(each["version"]) for each in team.versions() if "champion" in each["aliases"])
    return number


def assert_whole(package: Path, project: BakedProject) -> None:
    """It holds what its manifest names, and the model that the commit has."""
    listed = dict(reversed(line.split("  ")) for line in (package / "MANIFEST").read_text().splitlines())
    there = {path.relative_to(package).as_posix(): path for path in package.rglob("*") if path.is_file()}
    assert listed == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items() if name != "MANIFEST"
    }
    assert there["model.joblib"].read_bytes() == (project.path / "models" / "model.joblib").read_bytes()
    assert there["requirements.txt"].read_text() == project.read("requirements.txt")
    bill = json.loads(there["sbom.cdx.json"].read_text())
    assert bill["components"][0]["hashes"] == [{"alg": "SHA-256", "content": listed["model.joblib"]}]
