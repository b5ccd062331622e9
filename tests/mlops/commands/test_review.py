"""`review`, on results made by hand: what is called better and worse, what is said of the rest, and in which words."""

import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from mlops.__main__ import app
from mlops.base import files, yaml
from mlops.base.errors import DataError, SchemaError, StoreError
from typer.testing import CliRunner, Result

ROWS = 400
ROW = np.arange(ROWS)
RIGHT = ROW % 5 > 0  # 80 %
WOMEN = ROW % 3 == 0
HOSTILE = {
    "pipe": "a | b",
    "escaped pipe": "a \\| b \\\\| c",
    "backticks": "`` ` ``` code",
    "html": "<img src=http://evil/x.png onerror=alert(1)><!-- ",
    "lines": "a\n\n# b\r\n| c | d |\n- @e",
    "mention": "@everyone #1 !2 [link](http://evil) ![i](http://evil)",
    "backslash": "ends with \\",
    "long": "x" * 79 + "|`|" * 40,
    "blank": "  ",
}


def review(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["review", *arguments])


def reviewed(*arguments: str) -> dict:
    """The facts; NaN, which is no JSON, fails."""
    done = review("--json", *arguments)
    assert done.exception is None, done.exception
    return json.loads(done.stdout, parse_constant=pytest.fail)


@pytest.fixture
def project(handmade, classifier):
    """A project whose committed result is right in 80 of 100 rows."""
    handmade.result(classifier(RIGHT))
    handmade.commit("Before")
    return handmade


# ---- verdicts


def flipped(*, gained: int, lost: int) -> np.ndarray:
    """The rows that are right after so many more, and so many others no longer, spread over the rows."""
    right = RIGHT.copy()
    right[np.flatnonzero(~RIGHT)[:gained]] = True
    right[np.flatnonzero(RIGHT)[:lost]] = False
    return right


@pytest.mark.parametrize(
    ("gained", "lost", "passed", "verdict", "regression"),
    [
        (0, 0, True, "no real difference", False),
        (20, 14, True, "no real difference", False),  # 1.5 points up, by noise
        (14, 20, True, "no real difference", False),
        (40, 5, True, "better", False),
        (5, 40, True, "worse", True),
        (40, 5, False, "better", True),  # the gate shut
    ],
)
def test_a_change_is_called_by_what_is_more_than_noise(project, classifier, gained, lost, passed, verdict, regression):
    project.result(classifier(flipped(gained=gained, lost=lost)), passed=passed)

    found, done = reviewed(), review("--fail-on", "regression")

    accuracy = found["headline"]
    assert accuracy["metric"] == "accuracy"
    assert accuracy["difference"] == pytest.approx((gained - lost) / ROWS)
    assert accuracy["low"] <= accuracy["difference"] <= accuracy["high"]
    assert accuracy["verdict"] == verdict
    assert found["gate"]["passed"] is passed
    assert not (verdict == "no real difference" and found["metrics"]["groups"])
    assert found["regression"] is regression
    assert done.exit_code == (3 if regression else 0)
    assert review().exit_code == 0
    first = done.stdout.splitlines()[2]
    assert f"accuracy 0.8 → {0.8 + (gained - lost) / ROWS:.4g}: {verdict}**" in first
    assert ("gate **FAILED** (before: passed)" in first) is not passed


@pytest.mark.parametrize(
    ("report", "old", "new", "said"),
    [
        ("metrics.json", '"accuracy": 0.8', '"accuracy": 0.9991', "accuracy is 0.9991, but the predictions give 0.8"),
        ("baseline.json", '"accuracy": 0.75', '"accuracy": 0.5', "accuracy is 0.5, but the predictions give 0.75"),
        ("slices.csv", "sex,f,134,0.798507", "sex,f,134,0.9", "accuracy of sex = f is 0.9"),
        ("slices.csv", "sex,f,134", "sex,x,134", "rows of sex = x is 134, but the predictions give None"),
        ("fairness.json", '"demographic_parity": 0.0', '"demographic_parity": 0.9', "demographic_parity is 0.9"),
    ],
)
def test_a_number_that_the_predictions_do_not_give_is_refused(project, report, old, new, said):
    path = project.path / "reports" / report
    text = path.read_text(encoding="utf-8")
    assert old in text, text
    project.write(f"reports/{report}", text.replace(old, new))

    error = review("HEAD").exception

    assert isinstance(error, DataError)
    assert f"reports/{report} " in str(error)
    assert said in str(error)


def test_a_metric_that_is_missing_is_refused(project):
    metrics = files.read_json(project.path / "reports" / "metrics.json")
    del metrics["recall"]
    project.write("reports/metrics.json", metrics)

    assert "reports/metrics.json has no recall, but the predictions give 0.8" in str(review("HEAD").exception)


def test_a_gate_of_ci_needs_the_predictions(project):
    shutil.rmtree(project.path / ".dvc" / "cache")

    assert review("HEAD").exit_code == 0
    assert "predictions.parquet" in str(review("HEAD", "--fail-on", "regression").exception)


def test_a_result_that_no_change_explains_is_named_and_fails(project, classifier):
    lock = project.path / "dvc.lock"
    before = yaml.read(lock)
    project.result(classifier(flipped(gained=1, lost=0)))
    now = yaml.read(lock)
    for name, stage in now["stages"].items():  # as if nothing had been changed
        stage["deps"] = before["stages"][name]["deps"]
    project.write("dvc.lock", now)

    found, done = reviewed("HEAD"), review("HEAD", "--fail-on", "regression")

    assert found["unexplained"] == [{"stage": "evaluate", "files": ["data/prepared/predictions.parquet"]}]
    assert not found["regression"]
    assert "Results that no change explains" in done.stdout
    assert done.exit_code == 3


def test_a_new_delivery_is_a_change_and_has_its_verdict(project):
    drifted = {"delivery": {"digest": "d" * 64}, "verdict": "1 of 4 features drifted (age)"}
    project.write("reports/drift.json", json.dumps(drifted))

    found, said = reviewed()["delivery"], review().stdout

    assert found["changed"] is True
    assert (
        "**Newest delivery** in data/incoming – → dddddddddddd: 1 of 4 features drifted (age) (before: not looked at)\n"
    ) in said
    assert "Nothing: parameters" not in said


def test_a_gate_that_was_shut_before_is_no_regression(project, classifier):
    project.result(classifier(RIGHT), passed=False)
    project.commit("Shut")

    assert reviewed("HEAD")["regression"] is False


def test_a_group_that_got_worse_is_named_though_the_whole_got_better(project, classifier):
    project.result(classifier(np.where(WOMEN, ROW % 5 > 1, True)))

    found = reviewed()

    assert found["headline"]["verdict"] == "better"
    [group] = found["metrics"]["groups"]
    assert (group["column"], group["level"], group["rows"]) == ("sex", "f", int(WOMEN.sum()))
    assert (group["verdict"], group["high"] < 0) == ("worse", True)
    assert "### Groups that got worse" in (said := review().stdout)
    assert "| `sex` = `f` | 134 |" in said


def test_a_group_that_fell_by_noise_is_named_only_if_the_whole_really_rose(project, classifier):
    fell = RIGHT & ~np.isin(ROW, np.flatnonzero(WOMEN & RIGHT)[:2])
    project.result(classifier(np.where(WOMEN, fell, ROW % 20 > 0)))
    risen = reviewed()
    project.result(classifier(np.where(WOMEN, fell, RIGHT | (ROW % 50 == 0))))
    same = reviewed()

    assert (risen["headline"]["verdict"], same["headline"]["verdict"]) == ("better", "no real difference")
    assert same["headline"]["difference"] > 0
    [group] = risen["metrics"]["groups"]
    assert (group["level"], group["verdict"]) == ("f", "no real difference")
    assert same["metrics"]["groups"] == []


def test_of_a_sample_the_rows_that_were_judged_count(project, classifier):
    project.result(classifier(~WOMEN & RIGHT | WOMEN & (ROW % 2 > 0)))
    for name, new in (
        ("evaluation", {"sample": {"rows": ROWS, "of": 10 * ROWS}}),
        ("dataset", {"split": {"test": 10 * ROWS}}),
    ):
        project.write(f"reports/{name}.json", files.read_json(project.path / "reports" / f"{name}.json") | new)
    shutil.rmtree(
        project.path / "data" / "prepared", ignore_errors=True
    )  # the predictions have the groups of their rows

    found = reviewed()["metrics"]

    assert (found["test_rows_before"], found["test_rows"], found["shared_rows"]) == (ROWS, ROWS, ROWS)
    assert not found["on_shared_rows"]
    assert [(group["column"], group["level"], group["rows"]) for group in found["groups"]] == [
        ("sex", "f", int(WOMEN.sum()))
    ]


def test_where_nothing_got_worse_no_group_is_named(project, classifier):
    project.result(classifier(np.ones(ROWS, dtype=bool)))

    assert reviewed()["metrics"]["groups"] == []
    assert "Groups" not in review().stdout


# ---- what changed


def test_another_threshold_is_said_with_the_cost_that_it_is_chosen_by(project, classifier):
    costs = {"false_positive": 1, "false_negative": 20}
    project.result(classifier(flipped(gained=5, lost=0)))
    training = json.loads((project.path / "reports" / "training.json").read_text())
    project.write("reports/training.json", {**training, "decision": {"threshold": 0.0625, "costs": costs}})

    found, said = reviewed()["threshold"], review().stdout

    assert (found["before"], found["now"], found["costs"]) == (None, 0.0625, costs)
    assert found["cost_before"] > found["cost"] > 0
    assert "**Threshold** – → 0.0625; cost per test row " in said
    assert "(false positive 1, false negative 20)" in said


def test_nothing_changed_is_said_so(project):
    found, said = reviewed(), review().stdout

    assert {row["verdict"] for row in found["metrics"]["rows"]} == {"no real difference"}
    assert found["stages"] == found["not_run"] == found["code"] == []
    assert "Nothing: parameters, data, code and environment are the same." in said
    assert "no stage ran again" in said
    assert "Threshold" not in said


def test_everything_that_changed_is_named(project, classifier, people):
    older = people(200).assign(age=people(200)["age"] + 15)
    older.loc[:9, "age"] -= 15  # the first ten rows stay as they are
    columns = {name: column for name, column in project.columns.items() if name != "note"}
    project.write("code.py", "print()\nprint()\n")
    project.write("new.py", "print()\n")
    project.write("requirements.txt", "numpy==2.1.0\nscipy==1.0\n")
    project.result(
        classifier(RIGHT),
        train=older.iloc[:150],
        columns={**columns, "age": {"type": "number", "max": 100}, "sex": {"type": "category"}},
        changed={"train": {"model": "ridge", "folds": 5.0}, "models": {"ridge": {"alpha": 1}}},
    )
    project.write("params.yaml", Path("params.yaml").read_text(encoding="utf-8").replace("0.95", "0.9"))

    found, said = reviewed(), review().stdout

    assert found["parameters"] == [
        {"name": "evaluate.confidence", "before": 0.95, "after": 0.9},
        {"name": "models.ridge.alpha", "before": None, "after": 1},
        {"name": "train.folds", "before": 5, "after": 5.0},
        {"name": "train.model", "before": "forest", "after": "ridge"},
    ]
    assert found["data"]["changed"] is True
    assert found["data"]["rows"] == {"before": 600, "after": 550, "added": 0, "removed": 50, "changed": 140}
    assert {row["name"]: (row["before"], row["after"]) for row in found["data"]["columns"]} == {
        "age": ("feature, number", "feature, number, max 100"),
        "note": ("ignore, text", None),
        "sex": ("feature, category, sensitive True", "feature, category"),
    }
    assert [(row["column"], row["mean_before"]) for row in found["data"]["drift"]] == [("age", 44.5)]
    assert found["code"] == [
        {"path": "code.py", "added": 1, "removed": 0},
        {"path": "new.py", "added": 1, "removed": 0},
    ]
    assert found["environment"] == [
        {"name": "numpy", "before": "2.0.0", "after": "2.1.0"},
        {"name": "pandas", "before": "3.0.0", "after": None},
        {"name": "scipy", "before": None, "after": "1.0"},
    ]
    assert found["stages"] == ["prepare", "train", "evaluate"]
    assert found["not_run"] == ["evaluate"]
    for words in (
        "> **Not run yet:** the results of `evaluate`",
        "| `train.model` | `forest` | `ridge` |",
        "| `scipy` | – |",
        "**schema.yaml:** removed `note`; changed `age`, `sex`\n",
    ):
        assert words in said
    assert "600 → 550 rows, 0 added, 50 removed, 140 changed" in said
    assert "`code.py` (+1 −0), `new.py` (+1 −0)" in said


def test_a_limit_in_the_schema_is_a_change_of_it_and_not_of_the_data(project):
    columns = {**project.columns, "age": {"type": "number", "max": 100}}
    project.write("schema.yaml", {"columns": columns, "missing": ["", "NA"]})

    said = review().stdout

    assert "**schema.yaml:** added `missing in all columns`; changed `age`\n" in said
    assert "**Data**" not in said
    assert "Nothing: parameters" not in said


def test_rows_are_compared_on_those_that_both_test_splits_have(project, classifier, people):
    project.result(classifier(np.ones(ROWS, dtype=bool)).subset(slice(300, 400)), test=people(ROWS).iloc[300:400])

    found = reviewed()["metrics"]

    assert (found["test_rows_before"], found["test_rows"], found["shared_rows"]) == (400, 100, 100)
    assert found["rows"][0]["difference"] == pytest.approx(0.2)
    assert found["rows"][0]["verdict"] == "better"


def test_values_stand_on_the_rows_of_their_difference(project, classifier, people):
    gained = np.where((ROW >= 300) & (ROW < 350), True, RIGHT)
    project.result(classifier(gained).subset(slice(200, 400)), test=people(ROWS).iloc[200:400])

    found, said = reviewed(), review().stdout

    [line] = [row for row in found["metrics"]["rows"] if row["metric"] == "accuracy"]
    assert (line["before"], line["now"], line["difference"]) == pytest.approx((0.8, 0.85, 0.05))
    assert (line["before_reported"], line["now_reported"]) == pytest.approx((0.8, 0.85))
    assert found["metrics"]["on_shared_rows"] is True
    assert "(400 rows before, 200 now, 200 in both)" in said
    assert "accuracy 0.8 → 0.85: better** on 200 shared test rows (" in said
    assert "| verdict | all rows before | all rows now | without a model |" in said
    project.result(classifier(RIGHT).subset(slice(0, 203)), test=people(ROWS).iloc[0:203])
    [line] = [row for row in reviewed()["metrics"]["rows"] if row["metric"] == "accuracy"]
    assert line["before"] == line["now"] == pytest.approx(RIGHT[:203].mean())
    assert (line["before_reported"], line["now_reported"]) == pytest.approx((0.8, RIGHT[:203].mean()))


def test_splits_without_a_shared_row_have_no_verdict(project, classifier, people):
    project.result(classifier(RIGHT), test=people(ROWS, first=1000))

    found = reviewed()

    assert found["note"].endswith("the two test splits share no row, so there is no interval of the difference")
    assert found["headline"]["verdict"] is None
    assert "| accuracy | 0.8 | 0.8 | +0.0000 | – | – | 0.75 |" in review().stdout


def test_without_the_data_what_git_has_is_said_and_why_the_rest_is_missing(project, classifier):
    project.result(classifier(flipped(gained=5, lost=40)))
    shutil.rmtree(".dvc/cache")

    found = reviewed()
    done = review()

    assert found["note"].startswith("no interval and no verdict: data/prepared/predictions.parquet of")
    assert found["headline"]["difference"] == pytest.approx(-35 / ROWS)
    assert (found["headline"]["low"], found["headline"]["verdict"]) == (None, None)
    assert done.exit_code == 0
    assert "> no interval and no verdict" in done.stdout


def without(project, *names: str) -> None:
    """Commit a base that lacks these files, and put them back into the work tree."""
    contents = {name: Path(name).read_text(encoding="utf-8") for name in names}
    for name in names:
        Path(name).unlink()
    project.commit("Older")
    for name, content in contents.items():
        project.write(name, content)


def test_a_plot_that_the_base_lacks_is_left_out_with_a_note(project, tmp_path):
    without(project, "reports/plots/calibration.csv")
    page = tmp_path / "review.html"

    found, done = reviewed("HEAD"), review("HEAD", "--html", str(page))

    assert found["left_out"] == ["reports/plots/calibration.csv"]
    assert found["headline"]["verdict"] == "no real difference"
    assert done.exit_code == 0
    assert "> **Left out,** because " in done.stdout
    assert "`reports/plots/calibration.csv`" in done.stdout
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 4
    assert html.count(">before</text>") == 2  # of three with a legend
    assert "Left out," in html


def test_a_plot_with_other_columns_in_the_base_is_left_out(project, tmp_path):
    plot = Path("reports/plots/roc.csv")
    today = plot.read_text(encoding="utf-8")
    project.write(plot.as_posix(), "x,y\n0,1\n")
    project.commit("Older")
    project.write(plot.as_posix(), today)

    assert reviewed("HEAD")["left_out"] == ["reports/plots/roc.csv"]
    assert review("HEAD", "--html", str(tmp_path / "review.html")).exit_code == 0


def test_a_base_without_any_result_is_no_obstacle(project, tmp_path):
    reports = [path.as_posix() for path in Path("reports").rglob("*.*")]
    without(project, *reports, "dvc.lock", "schema.yaml", "params.yaml", "requirements.txt")

    found, done = reviewed("HEAD"), review("HEAD", "--html", str(tmp_path / "review.html"), "--fail-on", "regression")

    assert {"params.yaml", "schema.yaml", "reports/metrics.json", "reports/plots/roc.csv"} <= set(found["left_out"])
    assert (found["headline"]["before"], found["headline"]["now"], found["headline"]["verdict"]) == (None, 0.8, None)
    assert (found["gate"]["passed_before"], found["regression"]) == (None, False)
    assert found["metrics"]["shared_rows"] is None
    assert "accuracy – → 0.8**" in done.stdout
    assert "in both" not in done.stdout
    assert done.exit_code == 0, done.exception


def test_an_older_report_or_schema_of_the_base_does_not_fail_the_review(project, classifier, people):
    for name in ("dataset", "registration", "evaluation"):
        project.write(f"reports/{name}.json", {"unknown": 1})
    project.write("schema.yaml", {"columns": {"age": {"kind": "of old"}}})
    project.commit("Older")
    project.result(classifier(RIGHT))

    found = reviewed("HEAD")

    assert "has no labels, it was made by an older pipeline" in found["note"]
    assert found["data"]["note"].startswith("rows could not be compared: schema.yaml of ")
    assert found["left_out"] == []
    assert review("HEAD").exit_code == 0


def test_a_metric_that_is_undefined_is_null_and_a_dash(project, classifier, people):
    only = np.flatnonzero(people(ROWS)["churn"] == "No")
    for message in ("One class", "Again"):
        project.result(classifier(RIGHT).subset(only), test=people(ROWS).iloc[only])
        project.commit(message)

    found = reviewed("HEAD~1")

    area = next(row for row in found["metrics"]["rows"] if row["metric"] == "roc_auc")
    assert (area["now"], area["difference"], area["low"], area["verdict"]) == (None, None, None, "no real difference")
    assert "| ROC AUC | – | – | – | – | no real difference |" in review("HEAD~1").stdout


@pytest.mark.parametrize(
    ("name", "content", "error", "sentence"),
    [
        ("schema.yaml", "columns: {x: {typo: 1}}\n", SchemaError, r"schema\.yaml of work tree\.columns\.x"),
        ("reports/metrics.json", "{", StoreError, r"reports/metrics\.json of work tree is no JSON"),
        (
            "dvc.lock",
            "<<<<<<< HEAD\na: 1\n=======\n",
            StoreError,
            r"dvc\.lock of work tree ends too early, or is in conflict",
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(project, name, content, error, sentence):
    project.write(name, content)

    done = review()

    with pytest.raises(error, match=sentence):
        raise done.exception
    assert "\n" not in str(done.exception)


# ---- Markdown that nothing breaks out of


def cells(markdown: str, heading: str) -> list[list]:
    """The rows of the table whose first column is called so: of each cell the parts that Markdown makes of it."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    rows: list[list] = []
    for token, content in itertools.pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append([(part.type, part.content) for part in content.children or []])
    start = next(at for at, row in enumerate(rows) if row[0] == [("text", heading)])
    return [row for row in rows[start + 1 :] if len(row) == len(rows[start])]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_no_value_or_name_breaks_out_of_its_cell(project, classifier, value):
    columns = {**project.columns, value: {"type": "text", "role": "ignore"}}
    project.write("requirements.txt", f"numpy=={'|'.join(value.split()) or 'x'}\n")
    project.result(classifier(RIGHT), columns=columns, changed={"models": {value: {"x": value}}})
    lock, verdict = (Path(name).read_text(encoding="utf-8") for name in ("dvc.lock", "reports/registration.json"))
    project.write("dvc.lock", f"{lock}  {json.dumps(value)}: " + "{}\n")
    project.write("reports/registration.json", verdict.replace('"minimum"', json.dumps(value)))

    said = review().stdout

    [parameter] = [row for row in cells(said, "parameter") if "models" in str(row)]
    [column] = [row for row in cells(said, "column") if "ignore, text" in str(row)]
    assert [[kind for kind, _ in cell] for cell in parameter] == [["code_inline"], ["text"], ["code_inline"]]
    assert [[kind for kind, _ in cell] for cell in column] == [["code_inline"], ["text"], ["code_inline"]]
    [package] = [row for row in cells(said, "package") if "numpy" in str(row)]
    assert [[kind for kind, _ in cell] for cell in package] == [["code_inline"]] * 3
    shown = " ".join(value.split()).replace("`", "'")
    shown = (shown if len(shown) <= 80 else shown[:80] + "…") or '""'
    assert (parameter[2][0][1], column[0][0][1]) == (shown, shown)
    outside = re.sub(r"`[^`\n]*`", "", said)
    assert not re.search(r"evil|@e|<img|<!--", outside)


# ---- the page


class Links(HTMLParser):
    """What a page would load from elsewhere, or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        sources = [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]
        runs = [name for name, _ in attrs if name.startswith("on")]
        self.found += [value for value in sources if not value.startswith(("#", "data:image/png;base64,"))]
        self.found += runs + [tag] * (tag in ("script", "link", "iframe", "object", "img", "base"))


def test_the_page_has_both_versions_in_each_figure_and_needs_nothing_else(project, classifier, tmp_path):
    hostile = " ".join(HOSTILE.values())
    project.result(
        classifier(flipped(gained=40, lost=5)),
        columns={**project.columns, hostile: {"type": "text", "role": "ignore"}},
        changed={"models": {hostile: {"x": hostile}}},
    )
    page = tmp_path / "deep" / "review.html"

    done = review("--html", str(page))

    text = page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert done.exit_code == 0
    assert links.found == []
    assert text.count("<svg") == 4
    assert len(re.findall(r">before</text>", text)) == 3  # the legends; a confusion has both numbers in its cells
    assert "→ " in text
    for title in ("ROC", "Precision and recall", "Calibration", "Confusion"):
        assert f"<figcaption>{title}</figcaption>" in text
    assert not re.search(r"url\(\s*[\"']?http|@import", text)
    assert review("--html", str(page)).exit_code == 0
    assert page.read_text(encoding="utf-8") == text


def test_labels_that_read_as_numbers_or_as_missing_stay_labels_in_the_page(project, people, tmp_path):
    from mlops.training.metrics import Predictions

    labels = np.array(["01", "NA"], dtype=object)
    found = Predictions(labels[ROW % 2], labels[ROW % 2], None, ("01", "NA"), "NA")
    project.result(found, train=people(200).assign(churn=labels[np.arange(200) % 2]))
    project.commit("Labels")
    page = tmp_path / "review.html"

    review("HEAD", "--html", str(page))

    assert {">01</text>", ">NA</text>"} <= set(re.findall(r">[^<]*</text>", page.read_text(encoding="utf-8")))
