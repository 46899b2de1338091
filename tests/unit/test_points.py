"""The points at which networks are measured: whose output, in which order, in which layout."""

from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch
from torch import nn
from trained_networks import SMALL, small_network

from medtransfer.errors import ConfigError
from medtransfer.models.truncation import truncate
from medtransfer.models.units import network_units
from medtransfer.representation.points import Point, cca_points, first_tensor, measured_points

LISTED = [
    "resnet18",
    "resnet50",
    "resnet50d",
    "resnetv2_50x1_bit",
    "inception_v3",
    "densenet121",
    "vgg16",
    "mobilenetv2_100",
    "efficientnet_b0",
    "regnety_002",
    "convnext_atto",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "vit_small_patch16_dinov3",
    "beit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "pvt_v2_b0",
    "poolformer_s12",
    "mixer_s32_224",
    "maxvit_tiny_rw_224",
    "coatnet_0_rw_224",
    "nest_tiny",
    "gcvit_xxtiny",
    "tiny_vit_5m_224",
    "mambaout_femto",
    "samvit_base_patch16",
    "swinv2_cr_tiny_224",
    "qwen3_vit_88m",
]


def on_meta(architecture: str, **arguments: object) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(architecture, num_classes=5, **arguments)


def points_of(network: nn.Module) -> tuple[Point, ...]:
    return measured_points(network, network.pretrained_cfg["input_size"])


@pytest.fixture(scope="module", params=LISTED)
def listed(request) -> tuple[nn.Module, tuple[Point, ...]]:
    network = on_meta(request.param)
    return network, points_of(network)


def small_points(name: str) -> tuple[nn.Module, dict[str, Point]]:
    network = small_network(name).eval()
    size = SMALL[name][1]
    return network, {point.name: point for point in measured_points(network, (3, size, size))}


def images_of(name: str, count: int = 3) -> torch.Tensor:
    size = SMALL[name][1]
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def seen(network: nn.Module, module: str, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a module is given and what it gives."""
    caught = []
    hook = network.get_submodule(module).register_forward_hook(
        lambda _module, inputs, output: caught.append((inputs[0].clone(), first_tensor(output).clone()))
    )
    network(images)
    hook.remove()
    return caught[-1]


def test_points_are_the_units_in_order_with_the_branches_of_transformer_blocks_before_them(listed):
    network, points = listed
    expected = []
    for unit in network_units(network)[:-1]:
        if unit.attention and unit.mlp:
            expected += [(unit.attention, "attention"), (unit.mlp, "mlp")]
        expected.append((unit.name, "unit"))
    assert [(point.name, point.kind) for point in points] == [*expected, ("head", "head")]


def test_channels_are_those_that_timm_states_for_its_feature_maps(listed):
    network, points = listed
    units = {point.name: point for point in points if point.kind == "unit"}
    stated = {entry["num_chs"] for entry in network.feature_info}
    # a few networks widen once more before the head
    assert stated & {point.channels for point in units.values()}
    widest = {network.num_features, network.head_hidden_size, network.feature_info[-1]["num_chs"]}
    assert points[-2].channels in widest
    for entry in network.feature_info:
        if entry["module"] in units:
            assert units[entry["module"]].channels == entry["num_chs"]


def test_maps_shrink_and_never_swap_their_sides_with_their_channels(listed):
    network, points = listed
    units = [point for point in points if point.kind == "unit"]
    side = network.pretrained_cfg["input_size"][-1]
    for point in units:
        assert (point.positions + point.prefix_tokens) * point.channels == point.features
        assert point.positions <= side * side
    # of GCViT, the small maps that all windows share are units of their own
    if type(network).__name__ != "GlobalContextVit":
        sizes = [point.positions for point in units]
        assert sizes == sorted(sizes, reverse=True)


def test_the_branches_are_measured_where_there_is_attention_only():
    kinds = {point.kind for point in points_of(on_meta("convnext_atto"))}
    assert kinds == {"unit", "head"}
    points = points_of(on_meta("deit_tiny_patch16_224"))
    assert len(points) == 1 + 12 * 3 + 1
    assert [point.name for point in points[:4]] == [
        "patch_embed",
        "blocks.0.attn",
        "blocks.0.mlp",
        "blocks.0",
    ]


@pytest.mark.parametrize("name", ["cbr", "resnet18", "efficientnet"])
def test_the_output_of_a_unit_is_what_the_next_unit_reads(name):
    network, points = small_points(name)
    units = network_units(network)
    images = images_of(name)
    for unit, following in pairwise(units[:-1]):
        _, given = seen(network, points[unit.name].module, images)
        read, _ = seen(network, following.members[0], images)
        assert torch.equal(given, read)


def test_the_stem_of_a_resnet_is_measured_after_its_pooling_and_of_a_transformer_with_its_tokens():
    network, points = small_points("resnet18")
    assert points["stem"].module == "maxpool"
    assert points["stem"].positions == 16 * 16
    network, points = small_points("vit")
    read, _ = seen(network, "blocks.0", images_of("vit"))
    _, given = seen(network, points["patch_embed"].module, images_of("vit"))
    assert torch.equal(given, read)
    assert points["patch_embed"].prefix_tokens == 1


@pytest.mark.parametrize(
    ("architecture", "positions", "channels"),
    [
        ("swinv2_cr_tiny_224", 56 * 56, 96),
        ("samvit_base_patch16", 64 * 64, 768),
        ("pvt_v2_b0", 56 * 56, 32),
    ],
)
def test_stems_that_give_channels_last_are_known(architecture, positions, channels):
    stem = points_of(on_meta(architecture))[0]
    assert (stem.positions, stem.channels) == (positions, channels)


def test_what_the_stem_computes_for_all_images_alike_is_not_its_output():
    network = on_meta("beit_base_patch16_224", use_rel_pos_bias=False, use_shared_rel_pos_bias=True)
    stem = points_of(network)[0]
    assert "rel_pos_bias" in network_units(network)[0].members
    assert stem.shape == (1, 197, 768)


def test_the_stem_of_a_network_whose_members_include_a_rotary_embedding_is_its_tokens():
    network = on_meta("vit_small_patch16_dinov3")
    stem = points_of(network)[0]
    assert stem.shape == (1, 256 + 5, 384)
    assert stem.prefix_tokens == 5


@pytest.mark.parametrize("name", SMALL)
def test_every_image_has_its_own_rows_whatever_else_is_in_the_batch(name):
    network, points = small_points(name)
    images = images_of(name)
    for point in points.values():
        _, together = seen(network, point.module, images)
        for i in range(3):
            _, alone = seen(network, point.module, images[i : i + 1])
            rows = point.by_position(together, 3)[i]
            torch.testing.assert_close(rows, point.by_position(alone, 1)[0], rtol=1e-4, atol=1e-5)
        assert point.by_position(together, 3).shape == (
            3,
            point.positions + point.prefix_tokens,
            point.channels,
        )


def test_maps_are_pooled_over_their_positions_wherever_their_channels_are():
    network, points = small_points("resnet18")
    images = images_of("resnet18")
    _, output = seen(network, "layer3.1", images)
    pooled = points["layer3.1"].pooled(output, 3)
    assert set(pooled) == {"pooled"}
    torch.testing.assert_close(pooled["pooled"], output.mean(dim=(2, 3)))
    network, points = small_points("swin")
    _, output = seen(network, "layers.1.blocks.0", images_of("swin"))
    assert output.shape == (3, 8, 8, 48)
    torch.testing.assert_close(
        points["layers.1.blocks.0"].pooled(output, 3)["pooled"], output.mean((1, 2))
    )


def test_pooled_features_of_the_last_unit_give_the_logits_of_a_cbr():
    network, points = small_points("cbr")
    images = images_of("cbr")
    _, output = seen(network, "layers.2", images)
    logits = network.head(points["layers.2"].pooled(output, 3)["pooled"])
    torch.testing.assert_close(logits, network(images))


def test_the_class_token_and_the_mean_of_the_patches_are_two_features_of_a_transformer():
    network, points = small_points("vit")
    images = images_of("vit")
    _, output = seen(network, "blocks.1", images)
    pooled = points["blocks.1"].pooled(output, 3)
    assert list(pooled) == ["cls", "patches"] == list(points["blocks.1"].pooled_kinds)
    assert torch.equal(pooled["cls"], output[:, 0])
    torch.testing.assert_close(pooled["patches"], output[:, 1:].mean(1))
    torch.testing.assert_close(network.head(network.norm(output)[:, 0]), network(images))


@pytest.mark.parametrize(
    ("architecture", "prefix", "kinds"),
    [
        ("deit_tiny_distilled_patch16_224", 2, ("cls", "patches")),
        ("vit_small_patch16_dinov3", 5, ("cls", "patches")),
        ("vit_wee_patch16_reg1_gap_256", 1, ("patches",)),
        ("vit_base_patch16_siglip_224", 0, ("pooled",)),
        ("mixer_s32_224", 0, ("pooled",)),
        ("cait_xxs24_224", 0, ("pooled",)),
    ],
)  # fmt: skip
def test_prefix_tokens_are_those_that_the_network_puts_before_its_patches(architecture, prefix, kinds):
    points = points_of(on_meta(architecture))
    block = next(point for point in points if point.kind == "unit" and point.name.endswith("blocks.1"))
    assert block.prefix_tokens == prefix
    assert block.pooled_kinds == kinds


def test_half_precision_is_pooled_in_single_precision():
    point = Point("unit", "unit", "unit", (1, 2, 40, 40))
    output = torch.full((1, 2, 40, 40), 1.0078125, dtype=torch.bfloat16)
    pooled = point.pooled(output, 1)["pooled"]
    assert pooled.dtype == torch.float32
    assert pooled.tolist() == [[1.0078125, 1.0078125]]


def test_logits_are_the_last_point():
    network, points = small_points("swin")
    head = list(points.values())[-1]
    assert (head.name, head.kind, head.module, head.shape) == ("head", "head", "", (1, 4))
    images = images_of("swin")
    _, logits = seen(network, head.module, images)
    assert torch.equal(head.pooled(logits, 3)["pooled"], logits)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("resnet50", ["stem", "layer1.2", "layer2.3", "layer3.5", "layer4.2"]),
        (
            "mobilenetv2_100",
            ["stem", "blocks.0.0", "blocks.1.1", "blocks.2.2", "blocks.4.2", "conv_head"],
        ),
        ("deit_small_patch16_224", ["patch_embed", "blocks.2", "blocks.5", "blocks.8", "blocks.11"]),
        (
            "swin_tiny_patch4_window7_224",
            ["patch_embed", "layers.0.blocks.1", "layers.1.blocks.1", "layers.2.blocks.5",
             "layers.3.blocks.1"],
        ),
    ],
)  # fmt: skip
def test_correlations_are_taken_at_the_stem_and_at_the_end_of_each_resolution(architecture, expected):
    assert list(cca_points(points_of(on_meta(architecture)))) == expected


def test_correlations_of_a_small_network_are_taken_at_every_unit():
    _, points = small_points("cbr")
    assert cca_points(list(points.values())) == ("layers.0", "layers.1", "layers.2")
    _, points = small_points("vit")
    assert cca_points(list(points.values())) == ("patch_embed", "blocks.0", "blocks.1")


def test_a_truncated_network_ends_at_its_last_unit():
    network = small_network("resnet18")
    truncate(network, 4, (3, 64, 64))
    points = measured_points(network, (3, 64, 64))
    assert [point.name for point in points] == ["stem", "layer1.0", "layer1.1", "layer2.0", "head"]
    assert points[-2].channels == 32


def test_measuring_leaves_the_network_as_it_was():
    network = small_network("vit").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measured_points(network, (3, 32, 32))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in network.modules())


def test_images_of_another_size_are_an_error():
    with pytest.raises(ConfigError, match="doesn't take images"):
        measured_points(small_network("vit"), (3, 40, 40))
