"""The prediction log: what was acknowledged is there, a full disk costs no answer, and the last label wins."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlops.serving import prediction_log
from mlops.serving.prediction_log import PredictionLog, Record

from tests.conftest import PROJECT, TEMPLATE

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
CHILD = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TEMPLATE / PROJECT)!r})
from mlops.serving.prediction_log import PredictionLog
log = PredictionLog(Path(sys.argv[1]))

def record(number, text):
    place = sys.argv[2] + format(number, "015x")
    return {{"id": "0" * 16 + "-" + place, "time": "2026-11-01T08:00:00.000+00:00", "features": {{"text": text}}}}
"""


def name_of(number: int) -> str:
    return f"{'a' * 16}-{number:016x}"


def asked(number: int, **more: Any) -> Record:
    """A prediction, made so many minutes after the start."""
    time = prediction_log.timestamp((START + timedelta(minutes=number)).timestamp())
    return {"id": name_of(number), "time": time, "variant": "champion", "features": {"age": number}, **more}


def told(number: int, actual: Any, minutes: int = 0) -> Record:
    """Feedback on that prediction, so many minutes after the start."""
    return {**asked(minutes), "id": name_of(number), "actual": actual}


def read(folder: Path, **period: datetime) -> tuple[list[Any], Counter[str]]:
    """The numbers of the predictions in the log, and what was skipped."""
    skipped: Counter[str] = Counter()
    return [record["features"]["age"] for record in prediction_log.predictions(folder, skipped, **period)], skipped


def logs(folder: Path, kind: str = "predictions") -> list[Path]:
    return sorted((folder / kind).iterdir())


def test_records_are_read_back_as_they_were_given(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "serving")
    first = asked(1, prediction="Ja – ñ \u2028", probability=0.1, ms=0.2, version="3", request=None)
    log.append([first, asked(2)])
    log.append([asked(3)])
    log.close()

    skipped: Counter[str] = Counter()
    assert list(prediction_log.predictions(tmp_path / "serving", skipped)) == [first, asked(2), asked(3)]
    assert (log.dropped, log.problem, skipped.total()) == (0, "", 0)


def test_only_this_account_may_read_the_log(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "new" / "serving", "feedback")
    log.append([told(1, "Yes")])

    (path,) = logs(tmp_path / "new" / "serving", "feedback")
    assert [place.stat().st_mode & 0o777 for place in (path, path.parent, path.parents[1])] == [0o600, 0o700, 0o700]
    log.close()


def test_what_json_cannot_say_is_null_or_text_and_never_stops_an_answer(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    values = [math.nan, np.float32("inf"), np.int64(7), START, "\ud800", {"list": [-math.inf]}]
    log.append([asked(1, values=values)])
    log.append([asked(2, values={(1, 2): "no key of JSON"})])

    (path,) = logs(tmp_path)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    said = json.loads(line, parse_constant=pytest.fail)["values"]
    assert said == [None, None, 7, START.isoformat(), "?", {"list": [None]}]
    assert log.dropped == 1
    assert "no JSON" in log.problem
    log.close()


def test_masked_columns_are_null_and_named(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, masked=["sex", "religion"])
    given = {"age": 3, "sex": "f"}
    log.append([asked(1, features=given), asked(2)])

    first, second = prediction_log.predictions(tmp_path, Counter())
    assert (first["features"], first["masked"]) == ({"age": 3, "sex": None}, ["sex"])
    assert "masked" not in second
    assert given["sex"] == "f"
    log.close()


def test_a_full_file_is_followed_by_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "ROTATED", 400)
    log = PredictionLog(tmp_path)
    for number in range(10):
        log.append([asked(number)])
        log.sync() if number % 2 else None
    log.close()

    assert len(logs(tmp_path)) > 3
    assert all(path.stat().st_size <= 400 for path in logs(tmp_path))
    assert read(tmp_path) == (list(range(10)), Counter())


def test_the_limit_holds_for_all_processes_and_leaves_room_for_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "LOOK", 0)
    first, second = (PredictionLog(tmp_path, megabytes=0.002) for _ in range(2))
    labels = PredictionLog(tmp_path, "feedback", megabytes=0.002)
    for number in range(40):
        (first, second)[number % 2].append([asked(number)])

    sizes = sum(path.stat().st_size for path in logs(tmp_path))
    assert 1600 < sizes <= 1800
    assert first.dropped + second.dropped == 40 - len(read(tmp_path)[0]) > 0
    assert "serving.log_megabytes" in first.problem
    labels.append([told(1, "Yes")])
    assert labels.dropped == 0

    logs(tmp_path)[0].unlink()  # somebody makes room
    first.append([asked(99)])
    assert first.problem == ""
    assert 99 in read(tmp_path)[0]
    for log in (first, second, labels):
        log.close()


@pytest.mark.parametrize("room", [None, 0, 30, 200])
def test_a_full_disk_drops_whole_batches_and_the_next_ones_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None
) -> None:
    monkeypatch.setattr(prediction_log, "RETRY", 0)
    log = PredictionLog(tmp_path)
    log.append([asked(1)])
    write = os.write

    def full(file: int, lines: bytes) -> int:
        if room is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, lines[:room])

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        log.append([asked(2), asked(3)])
        assert (log.dropped, "No space left" in log.problem) == (2, True)
    log.append([asked(4)])
    log.close()

    assert read(tmp_path) == ([1, 4], Counter())
    assert (log.dropped, log.problem) == (2, "")


def test_lines_that_cannot_be_taken_back_end_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "RETRY", 0)
    log = PredictionLog(tmp_path)
    write = os.write

    def broken(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", lambda file, lines: write(file, lines[:20]))
        disk.setattr(os, "ftruncate", broken)
        log.append([asked(1)])
    log.append([asked(2)])
    log.close()

    first, _ = logs(tmp_path)
    assert read(tmp_path) == ([2], Counter({first.name: 1}))


def test_a_folder_that_cannot_be_written_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "serving"
    folder.write_text("in the way")  # also root cannot make a folder of it
    now = [100.0]
    monkeypatch.setattr(prediction_log.time, "monotonic", lambda: now[0])
    log = PredictionLog(folder)
    log.append([asked(1)])
    assert f"{folder / 'predictions'} could not be written" in log.problem

    folder.unlink()
    now[0] += prediction_log.RETRY / 2
    log.append([asked(2)])
    now[0] += prediction_log.RETRY
    log.append([asked(3)])
    log.sync()

    assert (log.dropped, log.problem, read(folder)[0]) == (2, "", [3])
    log.close()


def test_a_file_that_somebody_deletes_is_followed_by_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "LOOK", 0)
    log = PredictionLog(tmp_path)
    log.append([asked(1)])
    logs(tmp_path)[0].unlink()
    log.append([asked(2)])

    assert read(tmp_path)[0] == [2]
    log.close()


def test_sync_brings_each_file_and_its_name_to_the_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    monkeypatch.setattr(prediction_log, "ROTATED", 200)
    log = PredictionLog(tmp_path)
    log.append([asked(1)])
    log.append([asked(2)])
    log.sync()
    log.sync()

    assert sorted(synced) == sorted(place.stat().st_ino for place in (*logs(tmp_path), tmp_path / "predictions"))
    log.close()


def test_threads_that_append_and_sync_lose_and_mix_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "ROTATED", 2000)
    log = PredictionLog(tmp_path)

    def work(first: int) -> None:
        for number in range(first, first + 100):
            log.append([asked(number)])
            log.sync() if number % 10 == 0 else log.append([])

    threads = [threading.Thread(target=work, args=(100 * at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()

    numbers, skipped = read(tmp_path)
    assert (sorted(numbers), log.dropped, skipped.total()) == (list(range(400)), 0, 0)


def test_a_killed_process_has_written_what_it_acknowledged(tmp_path: Path) -> None:
    program = CHILD + "log.append([record(1, 'x')])\nprint('acknowledged', flush=True)\nsys.stdin.read()\n"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout
    assert child.stdout.readline() == b"acknowledged\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()

    (record,) = prediction_log.predictions(tmp_path, Counter())
    assert (child.returncode, record["features"]) == (-signal.SIGKILL, {"text": "x"})


def test_two_processes_never_mix_their_lines(tmp_path: Path) -> None:
    program = CHILD + "for n in range(300): log.append([record(n, sys.argv[2] * 5000)])\nlog.close()\n"
    children = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "ab"]
    assert [child.wait() for child in children] == [0, 0]

    skipped: Counter[str] = Counter()
    found = Counter(record["features"]["text"][:1] for record in prediction_log.predictions(tmp_path, skipped))
    assert (found, skipped.total()) == ({"a": 300, "b": 300}, 0)


def test_a_process_of_the_same_number_and_second_gets_a_file_of_its_own(tmp_path: Path) -> None:
    first, second = PredictionLog(tmp_path), PredictionLog(tmp_path)  # as in two containers on one volume
    first._start = second._start
    first.append([asked(1)])
    second.append([asked(2)])
    first.append([asked(3)])

    assert [len(path.read_bytes().splitlines()) for path in logs(tmp_path)] == [2, 1]
    first.close()
    second.close()


DAMAGED = {
    "cut off": json.dumps(asked(5)).encode()[:40],
    "empty": b"\n",
    "no JSON": b"\x00\xff\x00\n",
    "NaN": json.dumps(asked(5, ms=math.nan)).encode() + b"\n",
    "a list": b"[1]\n",
    "no features": json.dumps({**asked(5), "features": None}).encode() + b"\n",
    "no time": json.dumps({**asked(5), "time": "yesterday"}).encode() + b"\n",
    "no id": json.dumps({**asked(5), "id": "5"}).encode() + b"\n",
    "nested": b"[" * 100_000 + b"\n",
    "whole but unfinished": json.dumps(asked(5)).encode(),
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_skipped_and_counted(tmp_path: Path, line: bytes) -> None:
    log = PredictionLog(tmp_path)
    log.append([asked(1)])
    (path,) = logs(tmp_path)
    with path.open("ab") as file:
        file.write(line)
    other = path.with_name("20990101T000000Z-1-0001.jsonl")
    other.write_bytes(json.dumps(asked(2)).encode() + b"\n")

    assert read(tmp_path) == ([1, 2], Counter({path.name: 1}))
    log.close()


def test_a_period_has_its_start_and_not_its_end(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.append([asked(number) for number in range(6)])
    log.append([asked(6, time="2026-11-01T09:02:00+01:00"), asked(7, time="2026-11-01T08:03:00")])  # other spellings

    two, four = (START + timedelta(minutes=minutes) for minutes in (2, 4))
    assert sorted(read(tmp_path, since=two, until=four)[0]) == [2, 3, 6, 7]
    assert read(tmp_path, until=two)[0] == [0, 1]
    assert read(tmp_path, since=four)[0] == [4, 5]
    assert read(tmp_path / "elsewhere") == ([], Counter())
    log.close()


def newest(folder: Path, *numbers: int) -> list[Any]:
    """The labels of these predictions."""
    skipped: Counter[str] = Counter()
    with prediction_log.labels(folder, skipped) as label:
        found = [label(name_of(number)) for number in numbers]
    assert skipped.total() == 0
    return found


def test_the_last_label_wins(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "feedback")
    log.append([told(1, "first", 3), told(1, "second", 3), told(2, 0)])
    log.append([told(3, "Yes"), told(3, None, 5)])  # withdrawn

    assert newest(tmp_path, 1, 2, 3, 4) == ["second", 0, None, None]
    log.close()


def test_the_last_label_wins_over_workers_and_a_restart_while_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are read by their names, which begin with the wall clock: neither they nor times may decide."""
    workers = [PredictionLog(tmp_path, "feedback") for _ in range(2)]
    clock = iter(range(10**18, 0, -(10**15)))
    monkeypatch.setattr(prediction_log.time, "time_ns", lambda: next(clock))
    for number, log in enumerate([*workers, workers[0], workers[1]]):
        log.append([told(1, number, -number), told(2, number, -number)])
    assert newest(tmp_path, 1, 2) == [3, 3]

    (tmp_path / prediction_log.ORDER).write_text("no number")  # the file is damaged: a process still knows its own
    workers[1].append([told(1, 4, -4)])
    again = PredictionLog(tmp_path, "feedback")
    again._start = "19700101T000000Z"
    again.append([told(1, 5, -5)])

    assert newest(tmp_path, 1, 2) == [5, 3]
    assert prediction_log.find(tmp_path, name_of(1)) is None  # such a prediction was never made
    for log in (*workers, again):
        log.close()


def test_labels_of_an_older_server_have_the_order_of_their_times(tmp_path: Path) -> None:
    (tmp_path / "feedback").mkdir()
    lines = [told(1, "late", 9), told(1, "early", 2), told(2, "first", 3), told(2, "second", 3), told(3, "old")]
    (tmp_path / "feedback" / "1.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    log = PredictionLog(tmp_path, "feedback")
    log.append([told(3, "new", -5)])

    assert newest(tmp_path, 1, 2, 3) == ["late", "second", "new"]
    log.close()


def test_one_prediction_is_found_with_its_newest_label(tmp_path: Path) -> None:
    log, labels = PredictionLog(tmp_path), PredictionLog(tmp_path, "feedback")
    log.append([asked(1, request=name_of(2)), asked(2)])
    assert prediction_log.find(tmp_path, name_of(2)) == (asked(2), None)

    labels.append([told(2, "Yes", 4), told(2, "No", 3), told(1, "No", 5)])
    found, label = prediction_log.find(tmp_path, name_of(2)) or ({}, None)
    assert (found, label and label.pop("order") > 0, label) == (asked(2), True, told(2, "No", 3))
    assert prediction_log.find(tmp_path, name_of(3)) is None
    log.close()
    labels.close()
