"""What the READMEs show is what happens."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import PROJECT, TEMPLATE, BakedProject, bake_copy
from tests.projects import MLOPS, Team, answers

CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sessions(text: str) -> list[tuple[str, list[str]]]:
    """Each `console` block: its command, and the lines that it shows."""
    blocks = [block.splitlines() for block in CONSOLE.findall(text)]
    assert all(block[0].startswith("$ ") for block in blocks)
    return [(command.removeprefix("$ "), shown) for command, *shown in blocks]


def typed(project: BakedProject, command: str) -> str:
    """What a command prints that someone types; a lone one of `mlops` is called in this process."""
    words = shlex.split(command)
    env = dict(word.split("=", 1) for word in itertools.takewhile(lambda word: "=" in word, words))
    alone = words[len(env) : len(env) + 3] == list(MLOPS) and "&&" not in words
    done = project.with_env(**env).call(*words[len(env) + 3 :]) if alone else project.run("bash", "-c", command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout + done.stderr


def shows(printed: str, line: str) -> bool:
    """Whether a line is a part of one that was printed, whatever the blanks, and what stands for `…`."""
    parts = [re.escape(" ".join(part.split())).replace(r"\ ", "[ \t]+") for part in line.split("…")]
    return bool(re.search(".*?".join(parts), printed))


def test_every_command_of_the_tutorial_and_of_a_working_day_prints_what_is_shown(
    pipeline: BakedProject, tmp_path: Path
) -> None:
    project = bake_copy(pipeline, tmp_path)
    project.run("git", "config", "user.name", "Ada")
    project.run("git", "config", "user.email", "ada@example.org")
    generation, *tutorial = sessions((TEMPLATE / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    day = sessions(project.read("README.md"))
    assert len(day) == 5
    assert {command for command, _ in day} <= {command for command, _ in tutorial}

    printed = {generation[0]: pipeline.printed} | {command: typed(project, command) for command, _ in tutorial}

    for command, shown in (generation, *tutorial, *day):
        for line in shown:
            assert shows(printed[command], line), (command, line, printed[command])


def test_every_command_of_the_incident_prints_what_is_shown(stricter: BakedProject, tmp_path: Path) -> None:
    team = Team(bake_copy(stricter, tmp_path), None)
    for number in ("1", "2"):
        answers(team("rita"), "approve", number)
        answers(team("rita"), "promote", number, "--reason", "reviewed")

    for command, shown in sessions(team.project.read("docs/incident.md")):
        printed = typed(team("rita"), command)
        for line in shown:
            assert shows(printed, line), (command, line, printed)


def test_the_readme_of_a_project_is_at_most_90_lines() -> None:
    assert len((TEMPLATE / PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_the_first_page_shows_the_metrics_of_the_example(pipeline: BakedProject) -> None:
    ((_, _), (command, shown)) = sessions((TEMPLATE / "README.md").read_text(encoding="utf-8"))

    printed = pipeline.run("bash", "-c", command).stdout

    for line in shown:
        assert all(word in printed for word in line.replace("…", "").split()), line


def test_make_has_the_targets_that_the_readme_names() -> None:
    readme = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    makefile = (TEMPLATE / "Makefile").read_text(encoding="utf-8")

    named = set(re.findall(r"`make (\w+)`", readme))

    assert named >= {"demo", "test", "bench"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_the_summary_of_the_demo_shows_metrics_gate_and_drift(pipeline: BakedProject) -> None:
    done = pipeline.run("python", str(TEMPLATE / "tests" / "summary.py"), str(pipeline.path))

    assert done.returncode == 0, done.stderr
    gate = "Gate: passed (skill, minimum, overfitting, worst_group, fairness, validation, behaviour)"
    said = " ".join(done.stdout.split())  # the terminal breaks its lines
    for words in ("accuracy", gate, "Drift: 0 of 19 features drifted", "dvc repro"):
        assert words in said


def test_a_demo_without_packages_is_one_sentence_and_not_what_pip_says(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements-demo.txt"):
        shutil.copy(TEMPLATE / name, tmp_path / name)
    python = tmp_path / "python"  # its environment has a pip that fails
    python.write_text(
        '#!/bin/sh\n[ "$2" != venv ] || { mkdir -p .demo/bin; printf "#!/bin/sh\\necho Retrying >&2\\nexit 1\\n" '
        "> .demo/bin/python; chmod +x .demo/bin/python; }\n",
        encoding="utf-8",
    )
    python.chmod(0o755)

    done = subprocess.run(
        ["make", "demo", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "Retrying" not in done.stdout + done.stderr
    assert "Error: pip could not install requirements-demo.txt: see that the network is there" in done.stderr


def test_a_demo_whose_pipeline_did_not_run_ends_with_a_sentence(tmp_path: Path) -> None:
    summary = [sys.executable, str(TEMPLATE / "tests" / "summary.py"), str(tmp_path)]

    done = subprocess.run(summary, capture_output=True, text=True, check=False)

    assert done.stderr.startswith("Error: there is no ")
    assert done.stderr.count("\n") == 1
