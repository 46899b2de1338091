"""What a person sees of a run."""

from __future__ import annotations

import io
import math

import pytest
from training_runs import CPU, parts_of, specification

from medtransfer.config.recipe import HeadStageSettings
from medtransfer.training import progress
from medtransfer.training.keeper import Keeper
from medtransfer.training.oversight import Oversight
from medtransfer.training.progress import ProgressLine, duration
from medtransfer.training.run import train


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


class Loss:
    """Counts how often the device is waited for."""

    reads = 0

    def __float__(self) -> float:
        Loss.reads += 1
        return 0.25


def row(step: int, metric: float, loss: float = 0.5) -> dict[str, float | str]:
    return {"stage": "main", "step": step, "training_loss": loss, "validation_loss": 0.75,
            "validation_metric": metric}  # fmt: skip


def test_a_log_has_a_line_at_each_validation_and_no_other(monkeypatch):
    clock, stream = Clock(monkeypatch), io.StringIO()
    line = ProgressLine("tiny/chest", "auroc", stream)
    line.begin("main", 0, 2000, images_per_step=32)
    line.validated(row(0, 0.5, math.nan), (0, 0.5))
    for step in range(1, 1001):
        clock.now += 0.1
        line.stepped(step, Loss())
    line.validated(row(1000, 0.875), (1000, 0.875))
    line.validated(row(1000, 0.625), (10, 0.9))
    line.close()
    assert stream.getvalue().splitlines() == [
        "tiny/chest: main 0/2,000, validation loss 0.75, auroc 0.5000",
        "tiny/chest: main 1,000/2,000, loss 0.5, validation loss 0.75, auroc 0.8750, 320 images/s, "
        "2 min left",
        "tiny/chest: main 1,000/2,000, loss 0.5, validation loss 0.75, auroc 0.6250 (kept: 0.9000 at "
        "10), 320 images/s, 2 min left",
    ]
    assert Loss.reads == 0


def test_a_terminal_has_one_line_that_changes_once_a_second(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    clock, stream = Clock(monkeypatch), Terminal()
    Loss.reads = 0
    line = ProgressLine("tiny/chest", "auroc", stream)
    line.begin("main", 0, 100, images_per_step=8)
    for step in range(1, 51):
        clock.now += 0.25
        line.stepped(step, Loss())
    drawn = stream.getvalue().split("\r\x1b[K")[1:]
    assert len(drawn) == Loss.reads == 12
    assert drawn[-1] == "tiny/chest: main 48/100, loss 0.25, 32 images/s, 13 s left"
    assert "\n" not in stream.getvalue()
    line.close()
    assert stream.getvalue().endswith("\n")


def test_a_narrow_terminal_keeps_the_numbers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "31")
    clock, stream = Clock(monkeypatch), Terminal()
    line = ProgressLine("a/very/long/name/of/a/run", "auroc", stream)
    line.begin("main", 0, 10, images_per_step=8)
    clock.now = 5.0
    line.stepped(5, Loss())
    assert stream.getvalue() == "\r\x1b[Koss 0.25, 8 images/s, 5 s left"


def test_time_left_is_that_of_what_is_left_after_going_on(monkeypatch):
    clock, stream = Clock(monkeypatch), io.StringIO()
    line = ProgressLine("run", "auroc", stream)
    line.begin("main", 900, 1000, images_per_step=8)
    line.stepped(950, Loss())
    clock.now = 100.0
    line.validated(row(950, 0.5), (950, 0.5))
    assert stream.getvalue().endswith("main 950/1,000, loss 0.5, validation loss 0.75, auroc 0.5000, "
                                      "4 images/s, 100 s left\n".replace("100 s", "2 min"))  # fmt: skip


def test_a_run_shows_both_stages_to_its_last_step():
    stream = io.StringIO()
    first = HeadStageSettings(0.01, steps=4, validations=2)
    plan = specification(steps=6, validations=3, head_first=first)
    train(plan, parts_of("binary"), {}, CPU, Oversight(Keeper(), (ProgressLine("r", "auroc", stream),)))
    shown = [text.split(",")[0] for text in stream.getvalue().splitlines()]
    assert shown == [f"r: head {n}/10" for n in (0, 2, 4)] + [f"r: main {n}/10" for n in (4, 6, 8, 10)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.4, "12 s"), (90, "2 min"), (5000, "83 min"), (7200, "2.0 h")]
)
def test_a_duration_is_in_the_unit_that_suits_it(seconds, text):
    assert duration(seconds) == text


def test_nothing_is_shown_in_a_notebook(capsys):
    train(specification(), parts_of("binary"), {}, CPU)
    assert capsys.readouterr() == ("", "")
