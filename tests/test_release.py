"""A release of the template, made in a clone with a key for the test: it is verified as docs/release.md says."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests import cyclonedx
from tests.conftest import PROJECT, TEMPLATE, surroundings

MAIL = "ada@localhost"


def run(place: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program that makes releases, working on a clone whose owner signs by SSH."""
    for name in os.environ.keys() - surroundings(tmp_path).keys():
        monkeypatch.delenv(name)
    for name, value in surroundings(tmp_path).items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("release", TEMPLATE / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", "--no-tags", str(TEMPLATE), str(clone))
    run(clone, "git", "checkout", "--quiet", "-B", "main")
    key = tmp_path / "key"
    run(tmp_path, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", MAIL, "-f", str(key))
    settings = {"user.name": "Ada", "user.email": MAIL, "gpg.format": "ssh", "user.signingkey": f"{key}.pub"}
    for name, value in settings.items():
        run(clone, "git", "config", name, value)
    (tmp_path / "allowed_signers").write_text(f"{MAIL} {key.with_suffix('.pub').read_text()}")
    monkeypatch.setattr(module, "ROOT", clone)
    monkeypatch.setattr(module, "PYTHON", sys.version_info[:2])
    return module


def verified(block: str, folder: Path, tag: str) -> bool:
    """Whether the commands of docs/release.md succeed; Git looks into the clone, wherever they are run."""
    env = os.environ | {"MAIL": MAIL, "TAG": tag, "GIT_DIR": str(folder.parent / "clone" / ".git")}
    done = subprocess.run(["bash", "-euc", block], cwd=folder, env=env, capture_output=True, check=False)
    return done.returncode == 0


def test_a_release_can_be_verified_and_made_again_and_what_was_changed_is_found(
    release: ModuleType, tmp_path: Path
) -> None:
    files, tag_block, again = re.findall(r"```bash\n(.*?)```", (TEMPLATE / "docs/release.md").read_text("utf-8"), re.S)
    version = (TEMPLATE / PROJECT / "mlops" / "VERSION").read_text().strip()
    tag, folder = f"v{version}", tmp_path / "dist"

    said = release.release(folder)

    assert f"git push --atomic origin main {tag}\n" in said
    (folder / "allowed_signers").write_bytes((tmp_path / "allowed_signers").read_bytes())
    sums = (folder / "SHA256SUMS").read_text()
    assert verified(files, folder, tag)
    assert verified(tag_block, folder, tag)
    assert run(release.ROOT, "git", "tag", "--list", "--format=%(contents:body)", tag).strip() == sums.strip()
    assert (folder / "notes.md").read_text().startswith("- ")

    assert again == ".venv/bin/python .ci/release.py build dist\n"
    assert release.build(tmp_path / "again") == version
    built = [line.partition("  ")[2] for line in sums.splitlines()]
    for name in (*built, "SHA256SUMS"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name

    archive = folder / f"cookiecutter-dvc-mlops-{version}.tar.gz"
    archive.write_bytes(archive.read_bytes() + b"\0")
    assert not verified(files, folder, tag)
    changed = run(folder, "sha256sum", *built)
    (folder / "SHA256SUMS").write_text(changed)
    assert changed != sums
    run(folder, "sha256sum", "--check", "--strict", "SHA256SUMS")
    assert not verified(files, folder, tag)  # the sums fit, but nobody has signed them

    with pytest.raises(release.ReleaseError, match=f"there is a tag {tag}"):
        release.release(folder)


def test_a_release_says_what_it_is_made_of(release: ModuleType, tmp_path: Path) -> None:
    release.build(tmp_path / "dist")

    commit = run(release.ROOT, "git", "rev-parse", "HEAD").strip()
    sums = dict(reversed(line.split("  ")) for line in (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines())
    [name] = [each for each in sums if each.endswith(".tar.gz")]
    with tarfile.open(tmp_path / "dist" / name) as archive:
        packed = {each.name.partition("/")[2] for each in archive.getmembers() if not each.isdir()}
        assert archive.pax_headers["comment"] == commit
    assert packed == set(run(release.ROOT, "git", "ls-files", "-z").split("\0")) - {""}

    bill = json.loads((tmp_path / "dist" / "sbom.cdx.json").read_text("utf-8"))
    assert cyclonedx.errors(bill) == []
    locks = {path.rpartition("/")[2]: release.git("show", f"HEAD:{path}") for path in release.LOCKS}
    uses = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    pins = {name: re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE) for name, text in locks.items()}
    assert {name: len(used) for name, used in uses.items() if name in locks} == {
        name: len(found) for name, found in pins.items()
    }
    lines = (tmp_path / "dist" / "licences.txt").read_text("utf-8").splitlines()
    assert {line.partition(": ")[0] for line in lines} == {" ".join(pin) for found in pins.values() for pin in found}
    assert "typer" in {line.split()[0] for line in lines if line.endswith(": MIT")}

    statement = json.loads((tmp_path / "dist" / "provenance.json").read_text("utf-8"))
    assert {each["name"]: each["digest"]["sha256"] for each in statement["subject"]} == {
        name: digest for name, digest in sums.items() if name != "provenance.json"
    }
    source, *materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": commit}
    assert {each["name"] for each in materials} == set(locks)


def rewritten(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        (clone / name).write_text((clone / name).read_text("utf-8").replace(old, new), encoding="utf-8")
        run(clone, "git", "commit", "--quiet", "--all", "--message", "Changed")

    return change


def test_what_is_not_ready_is_refused_with_a_sentence(release: ModuleType, tmp_path: Path) -> None:
    clone, version = release.ROOT, release.check()
    refusals = {
        "this is other, and releases are made on main": lambda: run(clone, "git", "switch", "--quiet", "-c", "other"),
        "1 files are not as they were committed": lambda: (clone / "new").touch(),
        f"CHANGELOG.md has no section `## {version}`": lambda: rewritten("CHANGELOG.md", f"## {version}\n", "")(clone),
        f"pyproject.toml has not the version {version}": lambda: rewritten("pyproject.toml", version, "0.0.1")(clone),
        "Git has no key to sign with": lambda: run(clone, "git", "config", "--unset", "user.signingkey"),
        "ssh-keygen could not sign": lambda: run(clone, "git", "config", "user.signingkey", str(tmp_path / "gone")),
    }
    commit = run(clone, "git", "rev-parse", "HEAD").strip()
    for sentence, spoil in refusals.items():
        spoil()

        with pytest.raises(release.ReleaseError, match=re.escape(sentence)):
            release.release(tmp_path / "dist")

        assert run(clone, "git", "tag", "--list") == ""
        run(clone, "git", "switch", "--quiet", "main")
        run(clone, "git", "reset", "--quiet", "--hard", commit)
        run(clone, "git", "clean", "--quiet", "-fd")


def test_the_workflow_publishes_the_files_of_the_sums_and_only_what_writes_may_write() -> None:
    text = (TEMPLATE / ".github/workflows/release.yml").read_text("utf-8")
    pins = re.findall(r"uses: (actions/[\w-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+\n", text)
    build, publish = text.split("\n  publish:\n")

    assert len(pins) == text.count("uses:")
    assert "permissions: {}\n" in build
    assert not re.search(r": write\b", build)
    assert "checkout" not in publish
    assert "install" not in publish.replace("installs nothing", "")
    line = f"{'0' * 64}  name-1.0.tar.gz\n"
    script = re.search(r"mapfile -t files < <\((cut .*) SHA256SUMS\)", publish)
    assert script is not None
    cut = subprocess.run(script[1].split(), input=line, capture_output=True, encoding="utf-8", check=True)
    assert cut.stdout == "name-1.0.tar.gz\n"
