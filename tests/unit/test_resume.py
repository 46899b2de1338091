"""A run that was killed goes on, and comes to the same bits as one that was not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from resumable_runs import (
    FILES,
    RECIPE,
    DieAtCall,
    HalfAState,
    command,
    finished,
    started,
    write_store,
)
from training_runs import CPU, MODEL, parts_of, specification

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import AugmentationSettings, HeadStageSettings
from medtransfer.errors import FileError
from medtransfer.locks import locked_folder, remove_locked
from medtransfer.training import keeper as keeping
from medtransfer.training.batches import ShuffledRows, TrainingBatches
from medtransfer.training.keeper import Keeper
from medtransfer.training.oversight import Oversight
from medtransfer.training.run import train
from medtransfer.training.specification import Outcome, Specification
from medtransfer.training.state import UnusableState, read_snapshot, write_snapshot
from medtransfer.training.stopping import Stopped, StopRequest


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C reaches what runs here, also where a shell has put the tests into the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# every kind of run


class StopAt:
    """A display that has the run stopped after a step."""

    def __init__(self, stop: StopRequest, step: int) -> None:
        self.stop, self.step = stop, step

    def begin(self, *_: object) -> None: ...

    def stepped(self, step: int, _: torch.Tensor) -> None:
        if step == self.step:
            self.stop.signal = signal.SIGTERM

    def validated(self, *_: object) -> None: ...

    def close(self) -> None: ...


def interrupted(plan: Specification, folder: Path, steps: tuple[int, ...]) -> Outcome:
    """The outcome of a run that was stopped after each of these steps and started again."""
    parts = parts_of(plan.task, channels=3)
    for count, step in enumerate(steps):
        stop = StopRequest()
        keeper = Keeper(folder, stop=stop)
        with pytest.raises(Stopped, match=f"SIGTERM; the same command goes on from step {step}"):
            train(plan, parts, {}, CPU, Oversight(keeper, (StopAt(stop, step),)))
        assert keeper.resumed == count
        torch.manual_seed(step)  # the next process has other draws behind it
        torch.rand(step)
    keeper = Keeper(folder)
    outcome = train(plan, parts, {}, CPU, Oversight(keeper))
    assert outcome.facts["resumed"] == len(steps)
    return outcome


def assert_same(first: Outcome, second: Outcome) -> None:
    """The same weights, predictions and history to the last bit."""
    assert first.weights.keys() == second.weights.keys()
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name]), name
    for name, logits in first.logits.items():
        assert np.array_equal(logits, second.logits[name]), name
    pd.testing.assert_frame_equal(
        pd.DataFrame(first.history), pd.DataFrame(second.history), check_exact=True
    )
    for name in ("best_step", "best_value", "best_monitored"):
        assert getattr(first, name) == getattr(second, name), name
    times = {"training_seconds", "evaluation_seconds", "state_seconds", "resumed"}
    assert first.facts.keys() == second.facts.keys()
    for name in first.facts.keys() - times:
        assert first.facts[name] == second.facts[name], name


VIT = ModelSettings("test_vit", {"depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 4})
HEAD = HeadStageSettings(0.02, steps=4, validations=2)
CHANGES = [
    {},
    {"optimizer": "adam", "schedule": "steps", "decay_at": (0.4, 0.6), "learning_rate": 0.01},
    {"optimizer": "sgd", "schedule": "constant", "warmup_steps": 4, "warmup_start": 1e-4},
    {"optimizer": "rmsprop", "schedule": "steps", "decay_at": (0.5,), "warmup_steps": 3},
    {"optimizer": "lamb", "warmup_steps": 3},
    {"schedule": "plateau", "plateau_patience": 0, "decay_factor": 0.5, "monitor": "loss"},
    {"dropout": 0.5},
    {"mixup": 0.5},
    {"augmentation": AugmentationSettings(rotate=20.0, resized_crop=(0.5, 1.0), brightness=0.3)},
    {"layer_decay": 0.5, "gradient_clip": 0.5},
    {"monitor": "loss", "patience": 2, "learning_rate": 0.05},
    {"head_first": HEAD},
    {"head_first": HEAD, "dropout": 0.5, "mixup": 0.5, "class_weights": "balanced"},
    {"train": "head", "dropout": 0.5},
    {"model": VIT, "dropout": 0.2, "drop_path": 0.3},
    {"precision": "bfloat16", "normalisation": "training_images"},
    {"batch_size": 60, "label_smoothing": 0.1},
    # nothing gets better: what counts validations without a better value decides
    {"schedule": "plateau", "plateau_patience": 2, "validations": 8, "learning_rate": 1e-7},
    {"schedule": "plateau", "warmup_steps": 5, "plateau_patience": 0, "validations": 8,
     "learning_rate": 1e-7},
    {"patience": 4, "validations": 8, "learning_rate": 1e-7},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "-".join(changes) or "plain")
def test_a_run_that_goes_on_comes_to_the_same_bits(changes, tmp_path):
    plan = specification(**{"steps": 8, "validations": 4, "learning_rate": 0.01, **changes})
    whole = train(plan, parts_of("binary", channels=3), {}, CPU)
    steps = whole.facts["steps"]
    places = {1, 3, steps // 2, steps - 1}
    assert_same(whole, interrupted(plan, tmp_path, tuple(sorted(places))))


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_runs_of_other_tasks_go_on(task, tmp_path):
    plan = specification(task, class_weights="balanced", mixup=0.3)
    whole = train(plan, parts_of(task, channels=3), {}, CPU)
    assert_same(whole, interrupted(plan, tmp_path, (2, 3)))


def test_a_run_may_be_stopped_after_its_last_step_and_between_its_stages(tmp_path):
    plan = specification(head_first=HEAD, dropout=0.5)
    whole = train(plan, parts_of("binary", channels=3), {}, CPU)
    assert_same(whole, interrupted(plan, tmp_path, (4, 5, 10)))


def test_momentum_keeps_the_memory_format_of_its_weights(tmp_path):
    """Fused optimisers walk through memory, whatever the strides say."""
    plan = specification(steps=4)
    interrupted(plan, tmp_path, (3,))
    stop = StopRequest()
    with pytest.raises(Stopped):
        train(replace(plan, seed=1), parts_of("binary", channels=3), {}, CPU,
              Oversight(Keeper(tmp_path, stop=stop), (StopAt(stop, 3),)))  # fmt: skip
    content = (tmp_path / "state").read_bytes()[:-32]
    state = torch.load(io.BytesIO(content), weights_only=True)["snapshot"]["run"]["learner"]
    moments = [s["exp_avg"] for s in state["optimizer"]["state"].values()]
    kernels = [m for m in moments if m.ndim == 4 and m.shape[1] > 1]
    assert kernels
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in kernels)
    assert not any(m.is_contiguous() for m in kernels)


def test_saving_changes_no_bit(tmp_path):
    plan = specification(dropout=0.5, mixup=0.5, augmentation=AugmentationSettings(rotate=10.0))
    parts = parts_of("binary")
    saved = train(plan, parts, {}, CPU, Oversight(Keeper(tmp_path, every=0.0)))
    assert saved.facts["state_seconds"] > 0
    assert_same(train(plan, parts, {}, CPU), saved)


# draws


@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (3, 8)])
def test_rows_go_on_from_every_place_of_an_epoch(count, size):
    whole = ShuffledRows(count, size, torch.Generator().manual_seed(1))
    for _ in range(7):
        state = whole.state_dict()
        other = ShuffledRows(count, size, torch.Generator().manual_seed(99))
        other.load_state_dict(state)
        twin = ShuffledRows(count, size, torch.Generator())
        twin.load_state_dict(state)
        assert [next(other).tolist() for _ in range(6)] == [next(twin).tolist() for _ in range(6)]
        expected = next(whole)
        other.load_state_dict(state)
        assert torch.equal(next(other), expected)


def drawn(monkeypatch, **changes: object) -> dict[str, list]:
    """Order, augmentation, mixing and dropout of the main stage of a run."""
    from medtransfer.training import stages

    seen: dict[str, list] = {"labels": [], "images": [], "shares": [], "dropped": []}
    original = TrainingBatches.__next__

    def recording(self):
        batch = original(self)
        seen["labels"].append(batch.labels.clone())
        seen["images"].append(batch.images.clone())
        seen["shares"].append(batch.share)
        return batch

    build = stages._new_learner

    def watched(network, stage, *arguments):
        if stage.name == "main":
            for values in seen.values():
                values.clear()
            network.dropout.register_forward_hook(
                lambda module, _, out: seen["dropped"].append(out == 0) if module.training else None
            )
        learner = build(network, stage, *arguments)
        if stage.name == "main":
            seen["random"] = [torch.get_rng_state()]  # which dropout draws from
        return learner

    monkeypatch.setattr(TrainingBatches, "__next__", recording)
    monkeypatch.setattr(stages, "_new_learner", watched)
    settings = {"dropout": 0.5, "mixup": 0.5, "augmentation": AugmentationSettings(rotate=20.0)}
    train(specification(**settings | changes), parts_of("binary"), {}, CPU)
    monkeypatch.undo()
    return seen


def agree(first: list, second: list) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {"validations": 1},
        {"validations": 6},
        {"head_first": HEAD},
        {"head_first": HeadStageSettings(0.1, steps=3)},
        {"learning_rate": 0.02, "optimizer": "sgd"},
        {"monitor": "loss"},
    ],
    ids=str,
)
def test_what_has_nothing_to_do_with_the_draws_changes_none_of_them(changes, monkeypatch):
    usual, other = drawn(monkeypatch), drawn(monkeypatch, **changes)
    for name in ("labels", "images", "shares", "random"):
        assert len(usual[name]) == (1 if name == "random" else 6)
        assert agree(usual[name], other[name]), name
    # ReLU gives zeros as well: the first step, from the same weights, tells
    if "head_first" not in changes:
        assert torch.equal(usual["dropped"][0], other["dropped"][0])


def test_each_kind_of_draw_has_its_own_seed(monkeypatch):
    usual = drawn(monkeypatch)
    assert agree(usual["labels"], drawn(monkeypatch, mixup=0.0)["labels"])
    assert agree(usual["shares"], drawn(monkeypatch, dropout=0.0)["shares"])
    still = drawn(monkeypatch, augmentation=AugmentationSettings())
    assert agree(usual["labels"], still["labels"]) and agree(usual["shares"], still["shares"])
    assert not agree(usual["images"], still["images"])
    other = drawn(monkeypatch, seed=1)
    assert not any(
        agree(usual[name], other[name]) for name in ("labels", "images", "shares", "dropped")
    )


def test_dropout_is_the_same_however_often_the_run_is_scored():
    masks = []
    for validations in (1, 6):
        torch.rand(3)
        plan = specification(dropout=0.5, validations=validations, zero_head=True, learning_rate=0.0,
                             weight_decay=0.0)  # fmt: skip
        outcome = train(plan, parts_of("binary"), {}, CPU)
        masks.append(torch.get_rng_state())
        assert outcome.best_step >= 0
    assert torch.equal(*masks)


# the file


SNAPSHOT = {"weights": torch.arange(6.0).reshape(2, 3), "numbers": [1, 2.5, None, "a"], "large": 2**127}


def test_a_state_comes_back_as_it_was(tmp_path):
    write_snapshot(tmp_path, {"code": "1"}, SNAPSHOT)
    found = read_snapshot(tmp_path, {"code": "1"})
    assert torch.equal(found["weights"], SNAPSHOT["weights"])
    assert found["numbers"] == SNAPSHOT["numbers"]
    assert found["large"] == 2**127
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert read_snapshot(tmp_path / "elsewhere", {}) is None


def test_any_damage_is_noticed(tmp_path):
    write_snapshot(tmp_path, {"code": "1"}, SNAPSHOT)
    path = tmp_path / "state"
    whole = path.read_bytes()
    generator = random.Random(0)
    damaged = [whole[:cut] for cut in (0, 1, 31, 32, 33, len(whole) // 2, len(whole) - 1)]
    damaged += [whole + b"\0", b"\0" * len(whole)]
    for _ in range(200):
        place = generator.randrange(len(whole))
        damaged.append(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UnusableState, match="damaged"):
            read_snapshot(tmp_path, {"code": "1"})


def test_a_state_that_holds_code_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harm"),))

    plain = pickle.dumps({"identity": {}, "snapshot": Harmful()}, protocol=2)
    for content in (plain, saved_bytes(Harmful())):
        (tmp_path / "state").write_bytes(content + hashlib.sha256(content).digest())
        with pytest.raises(UnusableState, match="not a state of a run"):
            read_snapshot(tmp_path, {})
    assert not (tmp_path / "harm").exists()


def saved_bytes(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save({"identity": {}, "snapshot": value}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("found", "named"),
    [({"code": "2", "torch": "a"}, "code"), ({"code": "1"}, "torch"),
     ({"code": "2", "torch": "b", "more": "c"}, "code, more, torch")],
)  # fmt: skip
def test_the_state_of_another_run_is_refused_and_the_difference_named(found, named, tmp_path):
    write_snapshot(tmp_path, found, SNAPSHOT)
    with pytest.raises(UnusableState, match=f"another run, with another {named}$"):
        read_snapshot(tmp_path, {"code": "1", "torch": "a"})


def test_a_write_that_fails_leaves_the_state_before(tmp_path, monkeypatch):
    write_snapshot(tmp_path, {}, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_snapshot(tmp_path, {}, {"step": 2})
    assert read_snapshot(tmp_path, {}) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_full_disk_is_reported_and_training_goes_on(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeping, "write_snapshot", full)
    plan = specification()
    outcome = train(plan, parts_of("binary"), {}, CPU, Oversight(Keeper(tmp_path, every=0.0)))
    assert "step 3 is not saved" in capsys.readouterr().err
    assert_same(train(plan, parts_of("binary"), {}, CPU), outcome)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "settings"),
        ({"learning_rate": 0.011}, "settings"),
        ({"model": replace(MODEL, arguments={"channels": [8, 8], "kernel_size": 3})}, "settings"),
        ({"dropout": 0.1}, "settings"),
    ],
)
def test_a_run_with_other_settings_begins_anew(change, named, tmp_path, capsys):
    plan = specification(learning_rate=0.01)
    other = specification(**{"learning_rate": 0.01, **change})
    train(plan, parts_of("binary"), {}, CPU, Oversight(Keeper(tmp_path, every=0.0)))
    keeper = Keeper(tmp_path)
    outcome = train(other, parts_of("binary"), {}, CPU, Oversight(keeper))
    warning = capsys.readouterr().err
    assert f"with another {named}; training begins anew" in warning
    assert keeper.resumed == 0
    assert_same(train(other, parts_of("binary"), {}, CPU), outcome)


# when


class Clock:
    """A time that only saving and steps move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def saves(monkeypatch, folder: Path, cost: float, steps: int, every: float | None = None,
          weight_bytes: int = 1000) -> tuple[list[float], float]:  # fmt: skip
    """When a run of so many steps of a second is saved, and the share that this takes of its time."""
    clock, times = Clock(), []

    def slow(*_):
        times.append(clock.now)
        clock.now += cost

    monkeypatch.setattr(keeping.time, "monotonic", clock)
    monkeypatch.setattr(keeping, "write_snapshot", slow)
    keeper = Keeper(folder, every)
    keeper.load(weight_bytes)
    for step in range(steps):
        keeper.attend(step, dict)
        clock.now += 1.0
    monkeypatch.undo()
    assert keeper.state_seconds == pytest.approx(cost * len(times))
    return [t - 1000.0 for t in times], keeper.state_seconds / (clock.now - 1000.0)


def test_a_short_run_is_not_saved(monkeypatch, tmp_path):
    assert saves(monkeypatch, tmp_path, 0.001, 20)[0] == []


def test_a_cheap_state_is_saved_every_twenty_seconds(monkeypatch, tmp_path):
    times, _ = saves(monkeypatch, tmp_path, 0.001, 101)
    assert times == pytest.approx([20, 40, 60, 80, 100], abs=0.1)


@pytest.mark.parametrize("cost", [0.1, 0.5, 1.0, 5.0, 30.0])
def test_all_saves_together_cost_two_percent_at_most(cost, monkeypatch, tmp_path):
    # 500 MB of state: a first save is taken to cost 20 s, for want of better knowledge
    times, share = saves(monkeypatch, tmp_path, cost, 20_000, weight_bytes=500_000_000)
    surprise = max(0.0, cost - 20) / 20_000
    assert share <= 0.0201 + surprise
    assert share > 0.4 * min(0.02, cost / 20)
    assert len(times) >= 5
    assert np.diff(times).min() >= 20


def test_an_interval_that_is_asked_for_is_kept_whatever_it_costs(monkeypatch, tmp_path):
    assert saves(monkeypatch, tmp_path, 2.0, 30, every=10.0)[0] == [10, 22]


def test_time_and_cost_of_earlier_processes_count(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(keeping.time, "monotonic", clock)
    first = Keeper(tmp_path, every=0.0)
    first.load(0)
    clock.now += 300
    first.attend(7, dict)
    second = Keeper(tmp_path)
    clock.now += 5000
    second.load(0)
    clock.now += 40
    assert second.resumed == 1
    assert second.seconds == pytest.approx(340)


# one at a time


def test_a_folder_has_one_holder(tmp_path):
    folder = tmp_path / "a" / "state"
    refused = pytest.raises(FileError, match="state: another process is training this run")
    with locked_folder(folder), refused, locked_folder(folder, patience=0.2):
        pass
    with locked_folder(folder, patience=0.0):
        (folder / "state").touch()
        remove_locked(folder)
    assert not folder.exists()


def test_a_lock_on_a_removed_file_is_none(tmp_path):
    """Who waited for the lock while its holder removed the folder has to begin again."""
    with locked_folder(tmp_path / "state"):
        remove_locked(tmp_path / "state")
        with locked_folder(tmp_path / "state", patience=0.0):
            assert (tmp_path / "state" / "lock").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(
        FileError, match=r"file/state: can't be written .Not a directory.*; allowed"
    )
    with refused, locked_folder(tmp_path / "file" / "state"):
        pass


# stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_once_outside_of_training_and_leaves_a_note_within(number):
    stop = StopRequest()
    with stop.listening():
        with pytest.raises(Stopped, match="saved last"), stop.deferred():
            os.kill(os.getpid(), number)
            seen = stop.signal
        assert seen == number
        stop.signal = None
        with pytest.raises(Stopped) as caught:
            os.kill(os.getpid(), number)
        stop.ignore()
        os.kill(os.getpid(), number)
    assert caught.value.status == 128 + number
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_control_c_does_not_wait():
    stop = StopRequest()
    waited = []
    with stop.listening(), pytest.raises(Stopped), stop.deferred():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            waited.append(number)
        os.kill(os.getpid(), signal.SIGINT)
        waited.append(signal.SIGINT)
    assert len(waited) == 4


def test_a_signal_that_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest().listening():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


# real processes


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder)
    return folder


@pytest.fixture(scope="module")
def whole(store) -> Path:
    """The files of a run that nobody disturbed."""
    assert finished(command(store, store / "whole"), store / "log") == 0
    assert not (store / "whole" / ".state").exists()
    return store / "whole"


def faults(case: object) -> object:
    """A case that is only run among the faults."""
    return pytest.param(case, marks=pytest.mark.faults)


def assert_same_files(folder: Path, whole: Path, resumed: bool = True) -> dict:
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    facts, expected = (json.loads((f / "run.json").read_text()) for f in (folder, whole))
    for name in ("training_seconds", "evaluation_seconds", "state_seconds"):
        assert facts.pop(name) >= 0
        del expected[name]
    assert expected.pop("resumed") == 0
    assert (facts.pop("resumed") > 0) == resumed
    assert facts == expected
    assert not (folder / ".state").exists()
    return facts


def test_the_run_of_these_tests_has_all_that_a_state_must_hold(whole):
    facts = json.loads((whole / "run.json").read_text())
    assert [stage["stage"] for stage in facts["stages"]] == ["head", "main"]
    history = pd.read_parquet(whole / "history.parquet")
    assert history["learning_rate"].nunique() > 3
    assert facts["stages"][1]["ended_by"] == "patience"
    assert facts["best_step"] > RECIPE["head_first"]["steps"]


@pytest.mark.parametrize("chain", [0, *(faults(number) for number in range(1, 4))])
def test_kills_at_random_moments_change_no_bit(chain, store, whole, tmp_path):
    """Five kills each, of a process that goes on from where the one before was killed."""
    arguments = command(store, tmp_path / "run")
    generator = random.Random(chain)
    killed = 0
    while killed < 5:
        process = started(arguments, tmp_path / "log")
        deadline = time.monotonic() + 20
        while not (tmp_path / "run" / ".state").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(generator.uniform(0.0, 0.35))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    assert finished(arguments, tmp_path / "log") == 0
    # a kill may come just after the run was finished; then the last process began anew
    resumed = "going on" in (tmp_path / "log").read_text()
    assert_same_files(tmp_path / "run", whole, resumed)


POINTS = {
    "in the middle of writing a state": HalfAState(5),
    "before a state's bytes are on the disk": DieAtCall("os", "fsync", 9),
    "before the state gets its name": DieAtCall("pathlib:Path", "replace", 6),
    "right after the state got its name": DieAtCall("pathlib:Path", "replace", 6, after=True),
    "before the first validation": DieAtCall("medtransfer.training.stages", "validate", 1),
    "in a validation": DieAtCall("medtransfer.training.stages", "predict", 4),
    "before the last step of the first stage": DieAtCall("medtransfer.training.stages", "take_step", 8),
    "between the stages": DieAtCall("medtransfer.training.stages", "_new_learner", 2),
    "after the first validation of the main stage": DieAtCall(
        "medtransfer.training.stages", "validate", 6, after=True
    ),
    "in the middle of an epoch": DieAtCall("medtransfer.training.stages", "take_step", 19, after=True),
    "before the final prediction": DieAtCall("medtransfer.training.run", "predict", 1),
    "between two parts of the final prediction": DieAtCall("medtransfer.training.run", "predict", 2),
    "before the first output": DieAtCall("medtransfer.models.weights", "write_state", 1),
    "after the first output": DieAtCall("medtransfer.models.weights", "write_state", 1, after=True),
    "between two outputs": DieAtCall("medtransfer.tables", "write_table", 2),
    "after all tables": DieAtCall("medtransfer.tables", "write_table", 2, after=True),
}


# the others are among the faults
ALWAYS = {"in the middle of writing a state", "between the stages", "between two outputs"}


@pytest.mark.parametrize("point", [point if point in ALWAYS else faults(point) for point in POINTS])
def test_a_kill_at_a_chosen_point_changes_no_bit(point, store, whole, tmp_path):
    arguments = command(store, tmp_path / "run")
    assert finished(arguments, tmp_path / "log", POINTS[point]) == -signal.SIGKILL
    assert finished(arguments, tmp_path / "log") == 0
    resumed = point != "before the first validation"
    assert ("going on from step" in (tmp_path / "log").read_text()) == resumed
    assert_same_files(tmp_path / "run", whole, resumed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "place",
    [("stages", "take_step", 5), ("stages", "validate", 3), ("run", "predict", 2)],
    ids=lambda place: place[1],
)
def test_a_run_that_is_told_to_stop_says_so_fails_and_goes_on(number, place, store, whole, tmp_path):
    arguments = command(store, tmp_path / "run", "--save-seconds", "1000")
    module, name, call = place
    told = DieAtCall(f"medtransfer.training.{module}", name, call, number=number)
    assert finished(arguments, tmp_path / "log", told) == 128 + number
    said = (tmp_path / "log").read_text()
    assert f"stopped by {signal.Signals(number).name}; the same command goes on from" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run" / "run.json").exists()
    assert finished(arguments, tmp_path / "log") == 0
    assert_same_files(tmp_path / "run", whole, resumed=module == "stages")


def test_two_processes_of_one_run_are_one_too_many(store, whole, tmp_path):
    arguments = command(store, tmp_path / "run")
    with locked_folder(tmp_path / "run" / ".state"):
        process = started(arguments, tmp_path / "log")
        process.join(1.0)
        assert process.is_alive()  # it waits a little
    process.join(60)
    assert process.exitcode == 0
    assert_same_files(tmp_path / "run", whole, resumed=False)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_older_code(path: Path) -> None:
    content = torch.load(io.BytesIO(path.read_bytes()[:-32]), weights_only=True)
    content["identity"]["code"] = "0123456789abcdef"
    write_snapshot(path.parent, content["identity"], content["snapshot"])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(damaged, "damaged"), (emptied, "damaged"), (of_older_code, "with another code;")],
)
def test_a_state_of_no_use_is_ignored_with_a_warning(harm, reason, store, whole, tmp_path):
    arguments = command(store, tmp_path / "run")
    point = DieAtCall("medtransfer.training.stages", "take_step", 12)
    assert finished(arguments, tmp_path / "log", point) == -signal.SIGKILL
    harm(tmp_path / "run" / ".state" / "state")
    assert finished(arguments, tmp_path / "log") == 0
    said = (tmp_path / "log").read_text()
    assert "warning:" in said and reason in said and "training begins anew" in said
    assert_same_files(tmp_path / "run", whole, resumed=False)


def test_other_images_are_another_run(store, tmp_path):
    point = DieAtCall("medtransfer.training.stages", "take_step", 12)
    arguments = command(store, tmp_path / "run")
    assert finished(arguments, tmp_path / "log", point) == -signal.SIGKILL
    split = pd.read_parquet(store / "split.parquet")
    split["part"] = split["part"].iloc[::-1].to_numpy()
    split["training_rank"] = split["training_rank"].iloc[::-1].to_numpy()
    split.to_parquet(tmp_path / "split.parquet")
    arguments[arguments.index("--split") + 1] = str(tmp_path / "split.parquet")
    assert finished(arguments, tmp_path / "log") == 0
    assert "with another images; training" in (tmp_path / "log").read_text()


def test_the_command_itself_is_stopped_and_goes_on(store, whole, tmp_path):
    """Without any help of the tests: the script by hand, in a shell's way."""
    arguments = [sys.executable, *command(store, tmp_path / "run", "--state", str(tmp_path / "kept"))]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "main" in line:
            process.send_signal(signal.SIGTERM)
            break
    said = process.stderr.read()
    assert process.wait(60) == 143
    assert "stopped by SIGTERM" in said
    assert (tmp_path / "kept" / "state").exists()
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.returncode == 0
    assert "going on from step" in result.stderr
    assert not (tmp_path / "kept").exists()
    assert_same_files(tmp_path / "run", whole)
