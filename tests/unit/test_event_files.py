"""The history of a run as TensorBoard reads it."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from training_runs import CPU, parts_of, specification

from medtransfer.config.recipe import HeadStageSettings
from medtransfer.errors import ConfigError
from medtransfer.training.event_files import EventFiles
from medtransfer.training.keeper import Keeper
from medtransfer.training.oversight import Oversight
from medtransfer.training.run import train

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="the package tensorboard is not installed"
)


def read(folder) -> dict[str, list[tuple[int, float]]]:
    """All curves of a folder, by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=True)
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@needs_tensorboard
def test_every_row_of_the_history_is_read_back(tmp_path):
    plan = specification(head_first=HeadStageSettings(0.01, steps=4, validations=2))
    oversight = Oversight(Keeper(), (EventFiles(tmp_path),))
    history = train(plan, parts_of("binary"), {}, CPU, oversight).history
    found = read(tmp_path)
    for stage in ("head", "main"):
        rows = [entry for entry in history if entry["stage"] == stage]
        metric = {entry["step"]: entry["validation_metric"] for entry in rows}
        assert dict(found[f"metric/validation/{stage}"]) == pytest.approx(metric, rel=1e-6)
        losses = {entry["step"]: entry["training_loss"] for entry in rows[1:]}
        assert dict(found[f"loss/training/{stage}"]) == pytest.approx(losses, rel=1e-6)
        assert len(found[f"loss/validation/{stage}"]) == len(rows)
        assert len(found[f"learning_rate/{stage}"]) == len(rows) - 1


@needs_tensorboard
def test_what_is_done_again_is_shown_once(tmp_path):
    def write(begin: int, rows: range) -> None:
        events = EventFiles(tmp_path)
        events.begin("main", begin, 10, 8)
        for step in rows:
            row = {"stage": "main", "step": step, "validation_metric": step + begin / 100,
                   "training_loss": 1.0, "validation_loss": 1.0, "learning_rate": 1.0}  # fmt: skip
            events.validated(row, (0, 0.0))
        events.close()

    write(0, range(0, 8))
    write(5, range(6, 11))
    curve = read(tmp_path)["metric/validation/main"]
    assert [step for step, _ in curve] == list(range(11))
    assert curve[7][1] == pytest.approx(7.05)
    write(0, range(0, 3))  # another run in its place, from the start
    assert [step for step, _ in read(tmp_path)["metric/validation/main"]] == [0, 1, 2]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"hardware.tensorboard.*pip install tensorboard"):
        EventFiles(tmp_path)
