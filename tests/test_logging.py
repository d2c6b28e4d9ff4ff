"""The log has SlowFast's lines, nothing untrusted forges any; progress is shown."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrec import progress
from actionrec.engine import logging as run_logging
from actionrec.errors import UserError
from actionrec.progress import Progress

LINE = re.compile(r"\[\d\d/\d\d \d\d:\d\d:\d\d\]\[([A-Z]+)\] (\w+\.py): {1,3}(\d+): (.*)")


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A function that returns the lines so far, which are equal on console and in the file."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    console = io.StringIO()
    monkeypatch.setattr("sys.stdout", console)
    run_logging.setup_logging(tmp_path)

    def lines() -> list[str]:
        text = (tmp_path / "stdout.log").read_text()
        assert console.getvalue() == text
        return text.splitlines()

    yield lines
    for handler in [h for h in root.handlers if h not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def json_stats(line: str) -> str:
    return line.split("json_stats: ", 1)[1]


def test_a_line_is_slowfasts(log):
    logging.getLogger("x").info("training on %d clips", 3)
    (line,) = log()
    level, file, _, message = LINE.fullmatch(line).groups()
    assert (level, file, message) == ("INFO", "test_logging.py", "training on 3 clips")


def test_debug_records_are_left_out(log):
    logging.getLogger("x").debug("noise")
    assert log() == []


def test_a_second_run_appends_and_no_line_comes_twice(log, tmp_path):
    logging.getLogger("x").info("first")
    run_logging.setup_logging(tmp_path)
    logging.getLogger("x").info("second")
    assert [
        line.rsplit(" ", 1)[1] for line in (tmp_path / "stdout.log").read_text().splitlines()
    ] == [
        "first",
        "second",
    ]


@pytest.mark.parametrize("name", ["a file", "a file/below"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, name):
    (tmp_path / "a file").write_text("")
    with pytest.raises(UserError, match="OUTPUT_DIR: cannot write stdout.log in '.*a file"):
        run_logging.setup_logging(tmp_path / name)


EVIL = "A\x1b[31m\n[11/21 11:15:17][INFO] forged.py:   1: json_stats: {}\r\u202e\u2028\x9b\udc80"


def test_ids_cannot_forge_lines_or_steer_a_terminal(log):
    logging.getLogger("x").info("clip %s is bad", run_logging.printable(EVIL))
    (line,) = log()
    assert LINE.fullmatch(line).group(4) == (
        r"clip A\x1b[31m\n[11/21 11:15:17][INFO] forged.py:   1: json_stats: {}"
        r"\r\u202e\u2028\x9b\udc80 is bad"
    )


def test_even_unescaped_text_keeps_to_its_record(log):
    logging.getLogger("x").info("clip %s", EVIL)
    first, second = log()
    assert LINE.fullmatch(first)
    assert second.startswith("    [11/21")
    assert second.isprintable()


@given(st.text())
def test_printable_is_printable_and_keeps_what_was(text):
    escaped = run_logging.printable(text)
    assert escaped.isprintable()
    assert run_logging.printable(escaped) == escaped
    if text.isprintable():
        assert escaped == text


def test_stats_are_sorted_strict_json_with_five_decimals(log):
    stats = {"lr": 0.1, "_type": "x", "n": 3, "map": float("nan"), "b": np.float32(0.5), "c": None}
    run_logging.log_json_stats({**stats, "inner": {"z": [1.0, float("inf")], "ok": True}})
    (line,) = log()
    assert json_stats(line) == (
        '{"_type": "x", "b": 0.50000, "c": null, "inner": {"ok": true, "z": [1.00000, null]}, '
        '"lr": 0.10000, "map": null, "n": 3}'
    )
    assert LINE.fullmatch(line).group(2) == "logging.py"  # as in SlowFast


@given(st.dictionaries(st.text(), st.floats() | st.integers() | st.text() | st.none(), max_size=5))
def test_any_stats_are_one_line_that_json_reads(stats):
    text = run_logging._to_json(stats)
    assert "\n" not in text
    parsed = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    for key, value in stats.items():
        if isinstance(value, float):
            finite = value == value and abs(value) != float("inf")
            assert parsed[key] == (float(f"{value:.5f}") if finite else None)
        else:
            assert parsed[key] == value


def test_stats_have_slowfasts_keys():
    step = {"epoch": 0, "max_epoch": 57, "iteration": 9, "num_iterations": 120}
    train_iter = run_logging.train_iter_stats(
        **step, dt=0.5, dt_data=0.125, eta_sec=3723.9, loss=0.7, lr=0.1
    )
    memory = train_iter.pop("gpu_mem")
    assert re.fullmatch(r"\d+\.\d\dG", memory)
    assert train_iter == {
        "_type": "train_iter",
        "epoch": "1/57",
        "iter": "10/120",
        "dt": 0.5,
        "dt_data": 0.125,
        "dt_net": 0.375,
        "eta": "1:02:03",
        "loss": 0.7,
        "lr": 0.1,
    }
    train_epoch = run_logging.train_epoch_stats(
        epoch=0, max_epoch=57, dt=1.0, eta_sec=float("nan"), loss=0.7, lr=0.1
    )
    assert (train_epoch["_type"], train_epoch["eta"]) == ("train_epoch", "unknown")
    assert re.fullmatch(r"\d+\.\d\d/\d+\.\d\dG", train_epoch["RAM"])
    val_iter = run_logging.val_iter_stats(**step, time_diff=0.5, eta_sec=1)
    assert val_iter.keys() == {"_type", "epoch", "iter", "time_diff", "eta", "gpu_mem"}
    val_epoch = run_logging.val_epoch_stats(
        epoch=1, max_epoch=57, time_diff=1.0, mean_ap=0.3, map_tail=0.1
    )
    assert (val_epoch["_type"], val_epoch["epoch"], val_epoch["map"]) == ("val_epoch", "2/57", 0.3)
    assert val_epoch["map_tail"] == 0.1
    test_iter = run_logging.test_iter_stats(iteration=0, time_diff=0.5, eta_sec=1)
    assert test_iter == {
        "split": "test_iter",
        "cur_iter": "1",
        "eta": "0:00:01",
        "time_diff": 0.5,
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_gets_a_bar_that_goes_away():
    stream = Terminal()
    assert list(Progress(3, "test", "clip", stream=stream).over("abc")) == ["a", "b", "c"]
    assert "test" in stream.getvalue()
    assert "3" in stream.getvalue()
    assert stream.getvalue().endswith("\r")


def test_a_file_gets_a_line_for_each_tenth(clock):
    stream = io.StringIO()
    with Progress(100, "frames", "clip", stream=stream) as shown:
        for _ in range(100):
            clock[0] += 10
            shown.update()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "frames: 1/100 clip (1 %), 10 s so far, 990 s left"
    assert lines[1] == "frames: 10/100 clip (10 %), 100 s so far, 900 s left"
    assert lines[-1] == "frames: 100/100 clip (100 %), 1000 s so far, 0 s left"


def seconds_of_lines(stream):
    return [int(re.search(r"(\d+) s so far", line)[1]) for line in stream.getvalue().splitlines()]


def test_a_line_comes_after_5_seconds_and_the_rest_30_seconds_apart(clock):
    stream = io.StringIO()
    with Progress(100, "frames", stream=stream) as shown:
        for _ in range(100):
            clock[0] += 1
            shown.update()
    assert seconds_of_lines(stream) == [5, 35, 65, 95]


def test_where_a_tenth_takes_long_there_is_a_line_every_two_minutes(clock):
    stream = io.StringIO()
    with Progress(10_000, "frames", stream=stream) as shown:
        for _ in range(100):
            clock[0] += 6
            shown.update()
    assert seconds_of_lines(stream) == [6, 126, 246, 366, 486]


def test_short_work_prints_nothing(clock):
    stream = io.StringIO()
    assert sum(Progress(50, "frames", stream=stream).over(range(50))) == 1225
    assert stream.getvalue() == ""


@pytest.mark.parametrize("total", [0, 1])
def test_totals_of_0_and_1_work(total, clock):
    with Progress(total, "frames", stream=io.StringIO()) as shown:
        clock[0] += 100
        shown.update(1)


def test_a_log_line_takes_the_bar_away_first(capsys, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    handler = run_logging._ConsoleHandler(__import__("sys").stdout)
    with Progress(3, "test") as shown:
        shown.update()
        before = len(stream.getvalue())
        handler.emit(logging.LogRecord("x", 20, str(Path("x.py")), 1, "hello", (), None))
        assert "\r" in stream.getvalue()[before:]
    assert capsys.readouterr().out == "hello\n"
