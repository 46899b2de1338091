"""The units of networks: every tensor in exactly one, in the order of execution."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from trained_networks import SMALL, small_network

from medtransfer.errors import ConfigError
from medtransfer.models.cbr import CBR
from medtransfer.models.shapes import run_on_shapes
from medtransfer.models.units import (
    Unit,
    classifier_names,
    is_norm,
    network_units,
    unit_of_tensors,
    within,
)

# architecture: number of units, name of the first, name of one in the middle
ARCHITECTURES = {
    "resnet18": (10, "stem", "layer2.0"),
    "resnet50": (18, "stem", "layer3.5"),
    "resnet50d": (18, "conv1", "layer3.5"),
    "seresnet50": (18, "stem", "layer1.2"),
    "resnetv2_50x1_bit": (18, "stem", "stages.2.blocks.5"),
    "resnetv2_101x3_bit": (35, "stem", "stages.2.blocks.22"),
    "wide_resnet50_2": (18, "stem", "layer4.0"),
    "resnext50_32x4d": (18, "stem", "layer4.2"),
    "inception_v3": (17, "Conv2d_1a_3x3", "Mixed_6c"),
    "inception_v4": (23, "features.0", "features.9"),
    "densenet121": (9, "stem", "features.transition2"),
    "vgg16": (15, "stem", "features.10"),
    "mobilenetv2_100": (20, "stem", "blocks.3.2"),
    "mobilenetv3_small_100": (15, "stem", "blocks.4.1"),
    "efficientnet_b0": (19, "stem", "blocks.6.0"),
    "regnety_002": (15, "stem", "s3.b4"),
    "convnext_atto": (14, "stem", "stages.2.blocks.5"),
    "convnextv2_atto": (14, "stem", "stages.0.blocks.1"),
    "deit_tiny_patch16_224": (14, "patch_embed", "blocks.7"),
    "deit_tiny_distilled_patch16_224": (14, "patch_embed", "blocks.7"),
    "vit_small_patch16_dinov3": (14, "patch_embed", "blocks.11"),
    "beit_base_patch16_224": (14, "patch_embed", "blocks.3"),
    "swin_tiny_patch4_window7_224": (14, "patch_embed", "layers.2.blocks.4"),
    "swinv2_tiny_window8_256": (14, "patch_embed", "layers.3.blocks.1"),
    "pvt_v2_b0": (10, "patch_embed", "stages.1.blocks.1"),
    "poolformer_s12": (14, "stem", "stages.2.blocks.5"),
    "mixer_s32_224": (10, "stem", "blocks.4"),
    "maxvit_tiny_rw_224": (13, "stem", "stages.2.blocks.4"),
    "coatnet_0_rw_224": (16, "stem", "stages.2.blocks.0"),
    "dm_nfnet_f0": (15, "stem", "stages.2.5"),
    "nest_tiny": (16, "patch_embed", "levels.2.transformer_encoder.7"),
    "fasternet_t0": (16, "patch_embed", "stages.2.blocks.7"),
    "legacy_xception": (17, "stem", "block5"),
    "dpn68": (25, "features.conv1_1", "features.conv3_2"),
    "dla34": (8, "base_layer", "level3"),
    "ese_vovnet19b_dw": (6, "stem", "stages.1.blocks.0"),
    "qwen3_vit_88m": (14, "encoder.patch_embed", "encoder.blocks.3"),
}


def on_meta(architecture: str, **arguments: object) -> nn.Module:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return timm.create_model(architecture, num_classes=5, **arguments)


def names(network: nn.Module) -> list[str]:
    return [unit.name for unit in network_units(network)]


def first_calls(network: nn.Module) -> list[int | None]:
    """When the first layer with tensors of each unit is called, None for never."""
    modules = dict(network.named_modules())
    calls: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _module, _inputs, index=index: calls.append(index))
        for index, unit in enumerate(network_units(network))
        for member in unit.members
        if member in modules
        for layer in modules[member].modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    size = network.pretrained_cfg["input_size"] if hasattr(network, "pretrained_cfg") else (3, 32, 32)
    run_on_shapes(network, size)
    for hook in hooks:
        hook.remove()
    count = len(network_units(network))
    return [calls.index(index) if index in calls else None for index in range(count)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_tensor_is_in_one_unit_and_units_are_in_the_order_of_execution(architecture):
    network = on_meta(architecture)
    units = network_units(network)
    held = {
        name: [i for i, unit in enumerate(units) if unit.holds(name)] for name in network.state_dict()
    }
    assert all(len(indices) == 1 for indices in held.values())
    assert {indices[0] for indices in held.values()} == set(range(len(units)))
    assert unit_of_tensors(network) == {name: indices[0] for name, indices in held.items()}
    order = first_calls(network)
    assert None not in order
    assert order == sorted(order)
    count, first, middle = ARCHITECTURES[architecture]
    assert len(units) == count
    assert units[0].name == first
    assert middle in names(network)
    assert units[-1].name == "head"
    assert len(set(names(network))) == count
    assert all(units[-1].holds(name) for name in classifier_names(network))


def test_a_unit_without_its_downsampling_would_be_seen_by_the_order_of_calls():
    network = on_meta("fasternet_t0")
    assert network_units(network)[2].members == ("stages.1.downsample", "stages.1.blocks.0")


def test_a_cbr_has_a_unit_for_each_layer_and_its_head():
    network = CBR(channels=(4, 8, 16))
    assert names(network) == ["layers.0", "layers.1", "layers.2", "head"]
    assert [unit.members for unit in network_units(network)][-1] == ("dropout", "head")
    assert first_calls(network) == sorted(first_calls(network))


def test_a_resnet_is_a_stem_sixteen_bottlenecks_and_a_head():
    units = network_units(on_meta("resnet50"))
    assert units[0] == Unit("stem", ("conv1", "bn1", "act1", "maxpool"))
    blocks = [f"layer{stage + 1}.{i}" for stage, depth in enumerate((3, 4, 6, 3)) for i in range(depth)]
    assert [unit.name for unit in units[1:-1]] == blocks
    assert all(unit.members == (unit.name,) for unit in units[1:-1])
    assert units[-1].members == ("global_pool", "fc")


def test_deit_is_a_patch_embedding_twelve_blocks_with_two_branches_and_a_head():
    network = on_meta("deit_small_patch16_224")
    units = network_units(network)
    assert [unit.name for unit in units] == ["patch_embed", *(f"blocks.{i}" for i in range(12)), "head"]
    assert units[0].members[:3] == ("cls_token", "pos_embed", "patch_embed")
    assert units[-1].holds("norm.weight")
    modules = dict(network.named_modules())
    for index, unit in enumerate(units[1:-1]):
        assert (unit.attention, unit.mlp) == (f"blocks.{index}.attn", f"blocks.{index}.mlp")
        assert unit.attention in modules
        assert unit.mlp in modules
    assert units[0].attention is units[0].mlp is units[-1].attention is None


def test_patch_merging_of_swin_is_in_the_unit_of_the_block_after_it():
    network = on_meta("swin_tiny_patch4_window7_224")
    units = network_units(network)
    expected = [
        f"layers.{stage}.blocks.{i}" for stage, depth in enumerate((2, 2, 6, 2)) for i in range(depth)
    ]
    assert [unit.name for unit in units] == ["patch_embed", *expected, "head"]
    merging = {unit.name: unit.members[0] for unit in units if len(unit.members) > 1}
    for stage in (1, 2, 3):
        assert merging[f"layers.{stage}.blocks.0"] == f"layers.{stage}.downsample"
        unit = next(u for u in units if u.name == f"layers.{stage}.blocks.0")
        assert unit.attention == f"layers.{stage}.blocks.0.attn"
    assert units[-1].holds("norm.weight")


def test_inception_has_a_unit_for_each_convolution_and_each_block():
    blocks = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]
    stem = ["1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3"]
    expected = [*(f"Conv2d_{name}" for name in stem), *(f"Mixed_{name}" for name in blocks), "head"]
    assert names(on_meta("inception_v3")) == expected


def test_blocks_of_efficientnet_are_units_and_so_is_its_last_convolution():
    units = network_units(on_meta("efficientnet_b0"))
    assert units[0].members == ("conv_stem", "bn1")
    depths = (1, 2, 2, 3, 3, 4, 1)
    blocks = [f"blocks.{stage}.{i}" for stage, depth in enumerate(depths) for i in range(depth)]
    assert [unit.name for unit in units] == ["stem", *blocks, "conv_head", "head"]
    assert units[-2].holds("bn2.running_mean")


def test_the_norm_before_the_classifier_is_in_the_head():
    for architecture, norm in (
        ("resnetv2_50x1_bit", "norm.weight"),
        ("densenet121", "features.norm5.weight"),
        ("deit_tiny_patch16_224", "norm.weight"),
        ("convnext_atto", "head.norm.weight"),
    ):
        assert network_units(on_meta(architecture))[-1].holds(norm)


def test_both_classifiers_of_a_distilled_network_are_in_the_head():
    network = on_meta("deit_tiny_distilled_patch16_224")
    assert classifier_names(network) == ("head", "head_dist")
    assert all(network_units(network)[-1].holds(f"{name}.weight") for name in ("head", "head_dist"))


def test_own_tensors_of_a_container_are_in_its_first_unit():
    assert network_units(on_meta("nest_tiny"))[0].holds("levels.0.pos_embed")
    merging = next(u for u in network_units(on_meta("nest_tiny")) if u.name == "levels.1.pool")
    assert merging.holds("levels.1.pos_embed")
    assert network_units(on_meta("qwen3_vit_88m"))[0].holds("encoder.pos_embed")


def test_names_match_by_whole_parts():
    assert within("fc", "fc")
    assert within("fc.weight", "fc")
    assert not within("fc1.weight", "fc")
    assert not within("mlp.fc.weight", "fc")
    assert not within("blocks.0.mlp.fc1.weight", "fc")
    assert not within("blocks.10.norm", "blocks.1")
    assert not within("fc", "fc.weight")
    unit = Unit("head", ("norm", "fc"))
    assert unit.holds("norm.bias")
    assert unit.holds("fc")
    assert not unit.holds("norm1.bias")
    assert not unit.holds("mlp.fc1.weight")


def test_the_units_do_not_depend_on_width_image_size_or_channels():
    for architecture in ("test_vit", "swin_tiny_patch4_window7_224", "resnet18"):
        images = {"img_size": 64} if architecture != "resnet18" else {}
        assert names(on_meta(architecture)) == names(on_meta(architecture, in_chans=1, **images))


@pytest.mark.parametrize("name", SMALL)
def test_reading_the_units_changes_nothing(name):
    network = small_network(name)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert network_units(network) == network_units(network)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_norms_are_told_by_class_and_by_name_but_not_blocks_that_are_named_after_having_none():
    modules = dict(on_meta("dm_nfnet_f0").named_modules())
    assert type(modules["stages.0.0"]).__name__ == "NormFreeBlock"
    assert not is_norm(modules["stages.0.0"])
    assert is_norm(nn.BatchNorm2d(3))
    assert is_norm(nn.LayerNorm(3))
    assert is_norm(on_meta("test_efficientnet_evos").bn1)
    assert is_norm(on_meta("resnetv2_50x1_bit").norm)
    assert is_norm(on_meta("test_vit", norm_layer="rmsnorm").norm)
    assert not is_norm(nn.Conv2d(3, 3, 3))
    assert not is_norm(nn.Identity())


@pytest.mark.parametrize("architecture", ["mobilenetv5_300m_enc", "test_resnet"])
def test_a_network_without_a_classifier_is_an_error(architecture):
    with torch.device("meta"):
        network = timm.create_model(architecture)
    if architecture == "test_resnet":
        network.pretrained_cfg["classifier"] = "absent"
    with pytest.raises(ConfigError, match="no classifier to fine-tune"):
        network_units(network)
