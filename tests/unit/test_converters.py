"""Names of published weights: prefixes, rules of one's own, the BiT release, timm's own conversion."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from medtransfer.config.model import ModelSettings
from medtransfer.config.source import RenameSettings, WeightFileSettings
from medtransfer.errors import ConfigError, DataError
from medtransfer.models.checkpoints import read_checkpoint
from medtransfer.models.converters import (
    bit_state,
    chosen_names,
    timm_state,
    without_wrappers,
)

HALF = (0.5, 0.5, 0.5)


def settings(**keys) -> WeightFileSettings:
    return WeightFileSettings(**{"path": "w.pth", "mean": HALF, "std": HALF, **keys})


def tensors(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.full((1,), float(number)) for number, name in enumerate(names)}


def nothing(_: str) -> None:
    """Told, and forgotten."""


# prefix, drop, rename


def test_a_prefix_takes_only_the_names_that_start_so():
    state = tensors("student.a", "teacher.a", "teacher.b", "not.teacher.c")
    found = chosen_names(state, settings(prefix="teacher."), nothing)
    assert {name: t.item() for name, t in found.items()} == {"a": 1.0, "b": 2.0}


def test_dropped_names_are_left_out_and_told():
    told: list[str] = []
    state = tensors("a.weight", "queue", "queue_pointer", "b.queue")
    found = chosen_names(state, settings(drop=("^queue", "absent")), told.append)
    assert list(found) == ["a.weight", "b.queue"]
    assert told == ["drop '^queue': queue, queue_pointer", "drop 'absent': none"]


def test_renames_are_made_in_their_order():
    rules = (RenameSettings("^x", "y"), RenameSettings("^y", "z"), RenameSettings(r"(\d)", r"<\1>"))
    found = chosen_names(tensors("x1", "y2", "z"), settings(rename=rules), nothing)
    assert list(found) == ["z<1>", "z<2>", "z"]
    turned = chosen_names(tensors("x1"), settings(rename=(rules[1], rules[0])), nothing)
    assert list(turned) == ["y1"]


def test_renames_come_after_prefix_and_drop():
    keys = settings(prefix="net.", drop=("^a",), rename=(RenameSettings("^b", "a"),))
    assert list(chosen_names(tensors("net.a", "net.b", "a"), keys, nothing)) == ["a"]


def test_two_tensors_of_one_new_name_are_an_error_that_names_both():
    with pytest.raises(DataError, match=r"w\.pth: a1 and a2 would both be named a"):
        chosen_names(tensors("a1", "a2"), settings(rename=(RenameSettings(r"\d", ""),)), nothing)


def test_leaving_nothing_is_an_error():
    with pytest.raises(DataError, match="'prefix' and 'drop' leave no tensor"):
        chosen_names(tensors("a"), settings(prefix="b."), nothing)


# wrappers


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "model.",
        "backbone.",
        "encoder.",
        "net.",
        "_orig_mod.",
        "module.model.",
        "model.backbone.",
    ],
)
def test_what_frameworks_put_before_names_is_cut_off_and_told(prefix):
    told: list[str] = []
    state = tensors(*(f"{prefix}{name}" for name in ("conv.weight", "fc.weight")))
    found = without_wrappers(state, {"conv.weight", "fc.weight"}, told.append)
    assert list(found) == ["conv.weight", "fc.weight"]
    assert told == [f"prefix '{prefix}' is cut off"]


def test_names_that_are_right_stay_though_they_look_wrapped():
    told: list[str] = []
    state = tensors("encoder.conv", "encoder.norm", "head")
    assert without_wrappers(state, {"encoder.conv", "encoder.norm", "head"}, told.append) is state
    assert told == []


def test_a_prefix_that_belongs_to_the_network_is_kept_behind_one_that_does_not():
    state = tensors("module.encoder.conv", "module.encoder.norm")
    found = without_wrappers(state, {"encoder.conv", "encoder.norm"}, nothing)
    assert list(found) == ["encoder.conv", "encoder.norm"]


def test_the_prefix_with_most_matches_is_cut_and_other_names_stay_for_the_check():
    state = tensors("model.backbone.a", "model.backbone.b", "model.fc", "loss.weight")
    found = without_wrappers(state, {"a", "b", "fc"}, nothing)
    assert list(found) == ["a", "b", "model.fc", "loss.weight"]


def test_the_choice_does_not_depend_on_the_order_of_names():
    names = ["module.a", "model.a", "model.b", "module.c"]
    wanted = {"a", "b", "c"}
    there, back = (without_wrappers(tensors(*n), wanted, nothing) for n in (names, names[::-1]))
    assert set(there) == set(back)


def test_unknown_words_are_not_cut_off():
    state = tensors("projector.a", "projector.b")
    assert list(without_wrappers(state, {"a", "b"}, nothing)) == ["projector.a", "projector.b"]


def test_cutting_never_loses_a_tensor():
    state = tensors("module.a", "module.b", "a")
    assert len(without_wrappers(state, {"a", "b", "c"}, nothing)) == 3


# the BiT release


def bit_release(network: torch.nn.Module, outputs: int) -> dict[str, np.ndarray]:
    """Random arrays under the release's names: kernels H x W x I x O."""
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}

    def kernel(name: str, weight: torch.Tensor) -> None:
        made[f"resnet/{name}/standardized_conv2d/kernel"] = random.normal(
            size=tuple(weight.permute(2, 3, 1, 0).shape)
        )

    def norm(name: str, weight: torch.Tensor) -> None:
        for kind in ("gamma", "beta"):
            made[f"resnet/{name}/{kind}"] = random.normal(size=tuple(weight.shape))

    kernel("root_block", network.stem.conv.weight)
    norm("group_norm", network.norm.weight)
    for i, stage in enumerate(network.stages, 1):
        for j, block in enumerate(stage.blocks, 1):
            unit = f"block{i}/unit{j:02d}"
            for part, number in zip("abc", "123", strict=True):
                kernel(f"{unit}/{part}", block.get_submodule(f"conv{number}").weight)
                norm(f"{unit}/{part}/group_norm", block.get_submodule(f"norm{number}").weight)
            if block.downsample is not None:
                kernel(f"{unit}/a/proj", block.downsample.conv.weight)
    made["resnet/head/conv2d/kernel"] = random.normal(size=(1, 1, network.num_features, outputs))
    made["resnet/head/conv2d/bias"] = random.normal(size=outputs)
    return {name: array.astype(np.float32) for name, array in made.items()}


def test_the_bit_release_becomes_what_timm_makes_of_it(tmp_path):
    expected = timm.create_model("resnetv2_50x1_bit", num_classes=9)
    np.savez(tmp_path / "BiT.npz", **bit_release(expected, outputs=9))
    with torch.no_grad():
        expected.load_pretrained(str(tmp_path / "BiT.npz"))
    found = bit_state(read_checkpoint(tmp_path / "BiT.npz"))
    assert found.keys() == expected.state_dict().keys()
    for name, values in expected.state_dict().items():
        assert torch.equal(found[name], values), name


# timm's own


def test_timms_conversion_is_applied_and_only_the_converted_names_remain():
    """Facebook's names of a ConvNeXt, whose conversion timm has."""
    model = ModelSettings("convnext_atto")
    network = timm.create_model("convnext_atto", num_classes=4)
    expected = {name: torch.randn_like(t) for name, t in network.state_dict().items()}
    file = settings(converter="timm", outputs=4)  # its head is 'head.', not 'head.fc.'
    found = timm_state(facebook_names(expected), file, model, 224)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(found[name].flatten(), values.flatten()), name


def facebook_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's ConvNeXt names as facebookresearch/ConvNeXt has them."""
    changes = (
        ("stem.", "downsample_layers.0."),
        ("head.norm.", "norm."),
        ("head.fc.", "head."),
        (".conv_dw.", ".dwconv."),
        (".mlp.fc1.", ".pwconv1."),
        (".mlp.fc2.", ".pwconv2."),
    )
    named = {}
    for name, tensor in state.items():
        for new, old in changes:
            name = name.replace(new, old)
        for stage in range(4):
            name = name.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
            name = name.replace(f"stages.{stage}.blocks.", f"stages.{stage}.")
        named[name] = tensor.flatten(1) if "pwconv" in name and tensor.ndim > 1 else tensor
    return named


def test_a_tensor_that_timm_misses_or_does_not_know_is_an_error_for_every_tag():
    """timm itself isn't strict about torchvision's Inception, whose file has another classifier."""
    file = WeightFileSettings(hub="inception_v3.tv_in1k")
    model = ModelSettings("inception_v3")
    state = dict(timm.create_model("inception_v3").state_dict())
    assert timm_state(state, file, model, 299).keys() == state.keys()
    state["AuxLogits.fc.weight"] = torch.zeros(2)
    del state["Mixed_5b.branch1x1.conv.weight"]
    with pytest.raises(DataError, match=r"missing \(1\): Mixed_5b\.branch1x1\.conv\.weight") as caught:
        timm_state(state, file, model, 299)
    assert "unexpected (1): AuxLogits.fc.weight" in str(caught.value)


def test_a_tag_whose_head_has_another_size_is_an_error_that_shows_both():
    state = dict(timm.create_model("resnet18", num_classes=10).state_dict())
    with pytest.raises(DataError, match=r"other shapes \(2\): fc\.weight: .*10, 512.*1000, 512"):
        timm_state(state, WeightFileSettings(hub="resnet18.tv_in1k"), ModelSettings("resnet18"), 224)


@pytest.mark.parametrize(("outputs", "channels"), [(10, 3), (3, 1)])
def test_a_file_of_ones_own_keeps_its_outputs_and_channels(outputs, channels):
    state = dict(timm.create_model("resnet18", num_classes=outputs, in_chans=channels).state_dict())
    found = timm_state(state, settings(converter="timm"), ModelSettings("resnet18"), 224)
    assert all(torch.equal(found[name], values) for name, values in state.items())


def test_timms_conversion_leaves_the_generator_of_random_numbers_alone():
    state = dict(timm.create_model("resnet18").state_dict())
    before = torch.get_rng_state()
    timm_state(state, settings(converter="timm"), ModelSettings("resnet18"), 224)
    assert torch.equal(torch.get_rng_state(), before)


def test_timms_conversion_is_for_timms_architectures():
    with pytest.raises(ConfigError, match="'cbr'; allowed: an architecture that timm"):
        timm_state(tensors("a"), settings(converter="timm"), ModelSettings("cbr"), 224)
