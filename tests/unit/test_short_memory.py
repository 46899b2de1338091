"""Networks that don't fit: gradients added up in pieces, activations computed again, clear errors."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training_runs import CPU, parts_of, problem, specification

from medtransfer.config.model import ModelSettings
from medtransfer.config.recipe import AugmentationSettings
from medtransfer.config.study import HardwareSettings
from medtransfer.errors import ConfigError, TrainingError
from medtransfer.models.build import build_network
from medtransfer.training import run as training
from medtransfer.training.arithmetic import Arithmetic
from medtransfer.training.batches import Batch, pieces
from medtransfer.training.out_of_memory import is_out_of_memory
from medtransfer.training.prediction import evaluation_batch
from medtransfer.training.recomputation import recompute_activations
from medtransfer.training.run import train
from medtransfer.training.specification import Outcome, Part

VIT = ModelSettings("test_vit", {"depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 4})
RESNET = ModelSettings("resnet10t")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch_of(count: int) -> Batch:
    return Batch(torch.arange(count * 4.0).view(count, 1, 2, 2), torch.arange(count))


# pieces


@pytest.mark.parametrize(("count", "size", "expected"), [
    (8, None, [8]), (8, 8, [8]), (8, 20, [8]), (8, 4, [4, 4]), (9, 4, [3, 3, 3]), (5, 1, [1] * 5),
])  # fmt: skip
def test_pieces_are_as_equal_as_can_be_and_no_larger_than_asked(count, size, expected):
    found = list(pieces(batch_of(count), size))
    assert [len(piece.images) for piece in found] == expected
    assert torch.equal(torch.cat([piece.images for piece in found]), batch_of(count).images)
    assert torch.equal(torch.cat([piece.labels for piece in found]), batch_of(count).labels)


def test_pieces_of_a_mixed_batch_keep_both_labels_and_the_share():
    batch = replace(batch_of(5), other_labels=torch.arange(5).flip(0), share=0.3)
    found = list(pieces(batch, 2))
    assert [piece.other_labels.tolist() for piece in found] == [[4, 3], [2, 1], [0]]
    assert {piece.share for piece in found} == {0.3}


def uneven_answers() -> Part:
    """Labels of which the unknown are not spread evenly over the pieces of a batch."""
    part = problem("multilabel")
    part.labels[::3] = torch.nan
    part.labels[1::3, 1] = torch.nan
    return part


def weights_after(task: str, **changes: object) -> dict[str, torch.Tensor]:
    parts = parts_of(task)
    if task == "multilabel":
        parts["train"] = uneven_answers()
    plan = specification(task, model=VIT, optimizer="sgd", steps=3, validations=1, **changes)
    return train(plan, parts, {}, CPU).weights


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "ordinal"])
@pytest.mark.parametrize("changes", [
    {}, {"mixup": 0.5}, {"class_weights": "balanced"}, {"label_smoothing": 0.2},
    {"gradient_clip": 0.01},
])  # fmt: skip
def test_steps_in_pieces_are_the_steps_of_whole_batches(task, changes):
    """Without batch norm; sgd, whose steps are as large as the gradients."""
    whole = weights_after(task, learning_rate=0.5, **changes)
    cut = weights_after(task, learning_rate=0.5, micro_batch_size=3, **changes)
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_the_loss_that_is_shown_is_that_of_the_batch():
    def losses(**changes):
        plan = specification("multilabel", model=VIT, **changes)
        outcome = train(plan, parts_of("multilabel") | {"train": uneven_answers()}, {}, CPU)
        return [entry["training_loss"] for entry in outcome.history[1:]]

    assert losses(micro_batch_size=3) == pytest.approx(losses(), rel=1e-4)


def test_evaluation_takes_no_more_images_at_once_than_training():
    assert evaluation_batch(specification()) == 256
    assert evaluation_batch(specification(micro_batch_size=4)) == 4
    assert evaluation_batch(specification(micro_batch_size=512)) == 256


# recomputation


def saved_bytes(network: nn.Module, images: torch.Tensor) -> int:
    """Of all that a forward pass keeps for the gradient, beside the weights; each storage once."""
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(images).sum()
    assert loss.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize(("model", "share"), [
    (ModelSettings("resnet18"), 0.6),
    (ModelSettings("vit_tiny_patch16_224"), 0.25),
    (ModelSettings("swin_tiny_patch4_window7_224"), 0.35),
])  # fmt: skip
def test_less_is_kept_for_the_gradient(model, share):
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    network = build_network(model, 3, 2, 224, seed=0).train()
    usual = saved_bytes(network, images)
    recompute_activations(network)
    assert saved_bytes(network, images) < share * usual


DROPPING = {
    "cnn": replace(RESNET, arguments={"drop_rate": 0.3}),
    "transformer": replace(
        VIT, arguments=VIT.arguments | {"proj_drop_rate": 0.3, "drop_path_rate": 0.3}
    ),
    "cbr": ModelSettings("cbr", {"channels": [8, 16], "kernel_size": 3}),
}  # fmt: skip


def same(first: Outcome, second: Outcome) -> bool:
    return all(torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items())


@pytest.mark.parametrize("network", DROPPING)
def test_recomputation_changes_no_bit_of_a_run(network):
    """Neither dropout, which is drawn again, nor the statistics of batch norms, which count once."""
    plan = specification(
        model=DROPPING[network], steps=4, augmentation=AugmentationSettings(flip_horizontal=0.5)
    )
    kept = train(replace(plan, arithmetic=Arithmetic()), parts_of("binary"), {}, CPU)
    again = train(replace(plan, arithmetic=Arithmetic(checkpointed=True)), parts_of("binary"), {}, CPU)
    assert same(kept, again)
    assert (kept.logits["test"] == again.logits["test"]).all()
    assert again.facts["stages"] == kept.facts["stages"]


def test_compilation_and_recomputation_exclude_each_other():
    with pytest.raises(ConfigError, match="'compile' and 'checkpoint_activations'"):
        HardwareSettings(compile=True, checkpoint_activations=True)


# out of memory


def narrow(network: nn.Module, room: int) -> nn.Module:
    """The network, with memory for so many images at once."""
    forward = network.forward

    def limited(images: torch.Tensor) -> torch.Tensor:
        if len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return forward(images)

    network.forward = limited
    return network


def train_narrow(monkeypatch, room: int, **changes: object) -> Outcome:
    original = training.starting_network
    monkeypatch.setattr(
        training, "starting_network", lambda *arguments: narrow(original(*arguments), room)
    )
    plan = specification(batch_size=16, **changes)
    return train(plan, parts_of("binary"), {}, CPU)


def test_the_batch_that_would_fit_is_named(monkeypatch):
    with pytest.raises(TrainingError) as raised:
        train_narrow(monkeypatch, 7)
    assert "with 16 images at once; 4 fit: set 'micro_batch_size: 4' in the recipe" in str(raised.value)
    assert "stay those of 16 images, or 'hardware.checkpoint_activations: true'" in str(raised.value)


def test_what_is_advised_helps(monkeypatch):
    assert train_narrow(monkeypatch, 7, micro_batch_size=4).best_step > 0


def test_a_network_that_never_fits_is_named(monkeypatch):
    with pytest.raises(TrainingError, match="not even 1 fits"):
        train_narrow(monkeypatch, 0, micro_batch_size=4)


def test_memory_that_others_took_is_not_blamed_on_the_batch(monkeypatch):
    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "fit", short)
    with pytest.raises(TrainingError, match="though they fit alone; fewer jobs"):
        train(specification(), parts_of("binary"), {}, CPU)


def test_other_errors_are_not_taken_for_it():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts on Linux only")
def test_a_real_shortage_on_the_cpu_is_named():
    program = """
        import re, resource
        import torch
        from training_runs import CPU, problem, specification
        from medtransfer.config.model import ModelSettings
        from medtransfer.training.run import train

        torch.set_num_threads(1)
        plan = specification(
            model=ModelSettings("resnet10t"), batch_size=1024, resize=64, micro_batch_size=None
        )
        parts = {"train": problem("binary", 1024), "validation": problem("binary", 16)}
        train(specification(model=ModelSettings("resnet10t"), steps=1), parts, {}, CPU)
        held = int(re.search(r"VmData:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (held + 700 * 2**20, resource.RLIM_INFINITY))
        train(plan, parts, {}, CPU)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "TrainingError: out of memory with 1024 images at once; " in ended.stderr
    fitting = int(ended.stderr.split("images at once; ")[1].split(" fit: ")[0])
    assert fitting in {512, 256, 128, 64, 32}
