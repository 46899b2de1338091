"""One pass over fixed images: Gram matrices, rows and pooled features against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from trained_networks import SMALL, small_network
from training_runs import specification

from medtransfer.errors import ConfigError, DataError
from medtransfer.representation.activations import read_activations, write_activations
from medtransfer.representation.cca_protocols import channel_blocks
from medtransfer.representation.extraction import Images, Request, expected_bytes, extract
from medtransfer.representation.folding import row_sample
from medtransfer.representation.points import cca_points, first_tensor, measured_points
from medtransfer.training.arithmetic import Arithmetic
from medtransfer.training.inputs import evaluation_images, normalised
from medtransfer.training.pixels import MappedPixels
from medtransfer.training.prediction import predict

TEST, TRAIN = 23, 11
REQUEST = Request(probe=17, gram_block=7, row_count=200, seed=3)


def trained(name: str) -> nn.Module:
    """Weights and statistics as after training, with which activations are neither tiny nor huge."""
    network = small_network(name)
    generator = torch.Generator().manual_seed(8)
    size = SMALL[name][1]
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.02 * noise if parameter.ndim > 1 else 0.2 * noise)
        network.train()
        for _ in range(30):  # running statistics of what comes in
            network(torch.randn(8, 3, size, size, generator=generator))
    return network.to(memory_format=torch.channels_last).eval()


def pixels_of(name: str, count: int, seed: int, channels: int = 3) -> torch.Tensor:
    side = SMALL[name][1]
    values = np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return torch.from_numpy(values)


def part_of(name: str, count: int, seed: int, **changes: object) -> Images:
    batch_size = changes.pop("batch_size", 64)
    plan = specification(model=SMALL[name][0], **changes)
    ids = tuple(f"image {i}" for i in range(count))
    return Images(pixels_of(name, count, seed), plan, ids, batch_size)


def parts_of(name: str, **changes: object) -> dict[str, Images]:
    return {"test": part_of(name, TEST, 0, **changes), "train": part_of(name, TRAIN, 1, **changes)}


@torch.no_grad()
def outputs(network: nn.Module, images: Images) -> dict[str, torch.Tensor]:
    """What the network gives at each point for all images at once."""
    batch = normalised(
        evaluation_images(images.pixels, images.specification.recipe), images.specification
    )
    caught: dict[str, torch.Tensor] = {}

    def catch(name: str, output: object) -> None:
        caught[name] = first_tensor(output).clone()

    points = measured_points(network, images.shape)
    hooks = [
        network.get_submodule(p.module).register_forward_hook(lambda _m, _i, o, p=p: catch(p.name, o))
        for p in points
    ]
    network(batch)
    for hook in hooks:
        hook.remove()
    return caught


def brute_gram(features: torch.Tensor, images: int) -> np.ndarray:
    values = features.reshape(images, -1).double().numpy()
    centring = np.eye(images) - 1 / images
    return centring @ values @ values.T @ centring


def places(point, output: torch.Tensor, images: int) -> np.ndarray:
    """N x positions x channels without prefix tokens, written out for each layout."""
    if output.ndim == 4 and point.channels_last:
        return output.reshape(images, -1, output.shape[-1]).numpy()
    if output.ndim == 4:
        return output.permute(0, 2, 3, 1).reshape(images, -1, output.shape[1]).numpy()
    return output.reshape(images, -1, output.shape[-1])[:, point.prefix_tokens :].numpy()


@pytest.fixture(scope="module", params=SMALL)
def extracted(request):
    network = trained(request.param)
    parts = parts_of(request.param)
    return request.param, network, parts, extract(network, parts, REQUEST)


def test_gram_matrices_are_those_of_flattened_activations_of_consecutive_blocks(extracted):
    _, network, parts, found = extracted
    whole = outputs(network, parts["test"])
    assert found.facts.blocks == 3
    for point in found.facts.points:
        for block, rows in enumerate((slice(0, 7), slice(7, 14), slice(14, 17))):
            images = rows.stop - rows.start
            features = whole[point.name].reshape(TEST, -1)[rows]
            expected = brute_gram(features, images)
            gram = found.gram(point.name, block)
            assert gram.dtype == np.float32
            np.testing.assert_allclose(gram, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
            assert np.abs(expected).max() > 0


def test_gram_matrices_of_a_kind_come_in_the_order_of_depth(extracted):
    _, _, _, found = extracted
    names = [point.name for point in found.facts.points if point.kind == "unit"]
    grams = found.grams(1)
    assert grams.shape == (len(names), 7, 7)
    assert np.array_equal(grams[-1], found.gram(names[-1], 1))
    assert len(found.grams(2, ("unit", "head"))) == len(names) + 1


def test_pooled_features_are_means_over_positions_of_all_images_of_all_parts(extracted):
    _, network, parts, found = extracted
    points = {point.name: point for point in measured_points(network, parts["test"].shape)}
    for part, images in parts.items():
        whole = outputs(network, images)
        for name, point in points.items():
            kind = "patches" if point.prefix_tokens else "pooled"
            expected = places(point, whole[name], len(images)).mean(1)
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(
                found.pooled(part, name, kind), expected, rtol=0, atol=2e-5 * scale
            )
            if point.class_token:
                cls = whole[name][:, 0].numpy()
                np.testing.assert_allclose(found.pooled(part, name, "cls"), cls, atol=2e-5 * scale)


def test_rows_are_the_chosen_positions_of_the_probe(extracted):
    _, network, parts, found = extracted
    whole = outputs(network, parts["test"])
    points = {point.name: point for point in measured_points(network, parts["test"].shape)}
    assert found.facts.cca_points == cca_points(list(points.values()))
    for name in found.facts.cca_points:
        images, positions = row_sample(17, points[name].positions, 200, 3)
        expected = places(points[name], whole[name], TEST)[images, positions]
        assert found.rows(name).shape == expected.shape
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found.rows(name), expected, rtol=0, atol=2e-5 * scale)


def test_channel_blocks_are_all_positions_of_the_chosen_images_and_channels(extracted):
    _, network, parts, found = extracted
    whole = outputs(network, parts["test"])
    points = {point.name: point for point in measured_points(network, parts["test"].shape)}
    for name in found.facts.cca_points:
        point = points[name]
        values = places(point, whole[name], TEST)
        blocks = channel_blocks(17, point.positions, point.channels, 3)
        for block, sampled in zip(found.channel_blocks(name), blocks, strict=True):
            expected = values[sampled.images][:, :, sampled.channels].reshape(-1, len(sampled.channels))
            assert block.shape == expected.shape
            np.testing.assert_allclose(block, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_logits_are_those_of_the_evaluation_in_training(extracted):
    _, network, parts, found = extracted
    for part, images in parts.items():
        expected = predict(network, images.pixels, images.specification)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found.pooled(part, "head"), expected, rtol=0, atol=1e-5 * scale)


def test_what_is_kept_and_the_file_are_as_large_as_stated(extracted, tmp_path):
    _, network, parts, found = extracted
    points = measured_points(network, parts["test"].shape)
    expected = expected_bytes(points, REQUEST, {"test": TEST, "train": TRAIN})
    assert expected.kept == sum(array.nbytes for array in found.arrays.values())
    assert expected.held == 7 * 4 * sum(point.features for point in points)
    assert expected.passes == 1
    write_activations(found, tmp_path / "activations.safetensors")
    size = (tmp_path / "activations.safetensors").stat().st_size
    assert expected.kept <= size <= expected.kept + 200 * len(found.arrays) + 4000


def test_what_was_written_is_read_array_by_array(extracted, tmp_path):
    _, _, _, found = extracted
    path = tmp_path / "folder" / "activations.safetensors"
    write_activations(found, path)
    stored = read_activations(path)
    assert stored.facts == found.facts
    assert set(stored.arrays) == set(found.arrays)
    assert len(stored.arrays) == len(found.arrays)
    assert all(np.array_equal(stored.arrays[name], array) for name, array in found.arrays.items())
    assert stored.facts.images["train"][3] == "image 3"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("batch_size", [1, 4, 5])
@pytest.mark.parametrize("name", SMALL)
def test_the_batch_size_changes_nothing_but_rounding(name, batch_size):
    network = trained(name)
    whole = extract(network, parts_of(name), REQUEST)
    small = extract(network, parts_of(name, batch_size=batch_size), REQUEST)
    assert set(whole.arrays) == set(small.arrays)
    for key, array in whole.arrays.items():
        scale = max(1e-3, np.abs(array).max())
        np.testing.assert_allclose(small.arrays[key], array, rtol=0, atol=1e-5 * scale, err_msg=key)


@pytest.mark.parametrize("name", SMALL)
def test_little_memory_gives_the_same_bits_in_several_passes(name):
    network = trained(name)
    parts = parts_of(name, batch_size=3)
    points = measured_points(network, parts["test"].shape)
    largest = max(point.features for point in points) * 7 * 4
    little = Request(probe=17, gram_block=7, row_count=200, seed=3, memory=largest)
    assert expected_bytes(points, little, {"test": TEST, "train": TRAIN}).passes > 1
    whole, pieces = extract(network, parts, REQUEST), extract(network, parts, little)
    assert set(whole.arrays) == set(pieces.arrays)
    for key, array in whole.arrays.items():
        assert np.array_equal(array, pieces.arrays[key]), key


def test_memory_is_never_above_what_is_allowed(monkeypatch):
    network = trained("resnet18")
    parts = parts_of("resnet18")
    points = measured_points(network, parts["test"].shape)
    memory = int(1.5 * max(point.features for point in points) * 7 * 4)
    held = []
    empty = torch.empty

    def counting(*size, **arguments):
        held.append(int(np.prod(size)) * 4)
        return empty(*size, **arguments)

    request = Request(probe=7, gram_block=7, row_count=1, memory=memory)
    expected = expected_bytes(points, request, {"test": TEST, "train": TRAIN})
    assert expected.held <= memory
    from medtransfer.representation import extraction

    passes = []
    run = extraction._HeldActivations.begin

    def begin(self, span, device):
        held.clear()
        monkeypatch.setattr(torch, "empty", counting)
        run(self, span, device)
        monkeypatch.setattr(torch, "empty", empty)
        passes.append(sum(held))

    monkeypatch.setattr(extraction._HeldActivations, "begin", begin)
    extract(network, parts, request)
    assert len(passes) == expected.passes > 1
    assert max(passes) == expected.held


def test_earlier_passes_end_at_the_last_point_that_they_are_for():
    network = trained("resnet18")
    calls = {"layer1.0": 0, "layer4.1": 0}
    for name in calls:
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, _o, name=name: calls.update({name: calls[name] + 1})
        )
    parts = {"test": part_of("resnet18", 7, 0)}
    points = measured_points(network, parts["test"].shape)
    calls.update(dict.fromkeys(calls, 0))
    memory = 7 * 4 * sum(point.features for point in points[:3])
    request = Request(probe=7, gram_block=7, row_count=10, memory=memory)
    extract(network, parts, request)
    assert expected_bytes(points, request, {"test": 7}).passes == 2
    # measuring the points runs the network once on shapes
    assert calls == {"layer1.0": 3, "layer4.1": 2}


def test_a_point_that_does_not_fit_into_memory_is_an_error_that_says_what_would():
    network = trained("cbr")
    parts = parts_of("cbr")
    points = measured_points(network, parts["test"].shape)
    features = max(point.features for point in points)
    request = Request(probe=17, gram_block=7, memory=features * 4 * 5)
    with pytest.raises(ConfigError, match=r"layers.0 takes .* block of 7 images; .* block of 5 images"):
        extract(network, parts, request)
    with pytest.raises(ConfigError, match="block of 5 images"):
        expected_bytes(points, request, {"test": TEST})


def test_images_on_the_disk_give_the_same_bits_as_images_in_memory():
    network = trained("cbr")
    memory = parts_of("cbr", batch_size=4)
    pixels = memory["test"].pixels
    order = np.random.default_rng(9).permutation(TEST)
    shuffled = np.empty_like(pixels.numpy())
    shuffled[order] = pixels.numpy()
    plan = memory["test"].specification
    mapped = Images(MappedPixels(shuffled, order), plan, memory["test"].ids, 4)
    first = extract(network, memory, REQUEST)
    second = extract(network, {**memory, "test": mapped}, REQUEST)
    assert all(np.array_equal(array, second.arrays[key]) for key, array in first.arrays.items())


@pytest.mark.parametrize("changes", [{"resize": 28}, {"resize": 40, "crop": 32}])
def test_images_are_resized_and_cropped_as_in_evaluation(changes):
    network = trained("cbr")
    parts = parts_of("cbr", **changes)
    side = 28 if "crop" not in changes else 32
    assert parts["test"].shape == (3, side, side)
    found = extract(network, parts, REQUEST)
    expected = predict(network, parts["test"].pixels, parts["test"].specification)
    np.testing.assert_allclose(
        found.pooled("test", "head"), expected, atol=1e-5 * np.abs(expected).max()
    )


def test_grey_images_give_one_channel_or_three():
    settings, side = SMALL["cbr"]
    network = trained("cbr")
    from dataclasses import replace

    plan = specification(model=replace(settings, grey_input="repeat"))
    grey = Images(pixels_of("cbr", 9, 0, channels=1), plan, tuple("abcdefghi"))
    assert grey.shape == (3, side, side)
    found = extract(network, {"test": grey}, Request(probe=9, gram_block=9, row_count=5))
    expected = predict(network, grey.pixels, plan)
    np.testing.assert_allclose(
        found.pooled("test", "head"), expected, atol=1e-5 * np.abs(expected).max()
    )
    assert Images(grey.pixels, specification(model=settings), grey.ids).shape == (1, side, side)


def test_half_precision_forward_passes_give_single_precision_arrays():
    network = trained("cbr")
    parts = parts_of("cbr", arithmetic=Arithmetic("bfloat16"))
    found = extract(network, parts, REQUEST)
    assert {array.dtype for array in found.arrays.values()} == {np.dtype("float32")}
    expected = predict(network, parts["test"].pixels, parts["test"].specification)
    np.testing.assert_allclose(
        found.pooled("test", "head"), expected, atol=1e-2 * np.abs(expected).max()
    )
    exact = extract(network, parts_of("cbr"), REQUEST)
    assert not np.array_equal(found.gram("layers.1", 0), exact.gram("layers.1", 0))


def test_memory_formats_differ_by_rounding_only():
    network = trained("resnet18")
    last = extract(network, parts_of("resnet18"), REQUEST)
    contiguous = network.to(memory_format=torch.contiguous_format)
    plan = Arithmetic(memory_format="contiguous")
    first = extract(contiguous, parts_of("resnet18", arithmetic=plan), REQUEST)
    for key, array in last.arrays.items():
        scale = max(1e-3, np.abs(array).max())
        np.testing.assert_allclose(first.arrays[key], array, rtol=0, atol=2e-5 * scale, err_msg=key)


def test_the_network_is_left_as_it_was():
    network = trained("efficientnet").train()
    network.get_submodule("blocks.1").eval()
    modes = [module.training for module in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = extract(network, parts_of("efficientnet"), REQUEST)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    again = extract(network.eval(), parts_of("efficientnet"), REQUEST)
    assert all(np.array_equal(array, again.arrays[key]) for key, array in found.arrays.items())


def test_a_failing_network_keeps_no_hook():
    network = trained("cbr")

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    parts = parts_of("cbr")
    points = len(measured_points(network, parts["test"].shape))
    calls = []
    handle = network.head.register_forward_pre_hook(
        lambda *_: fail() if calls else calls.append(1)  # the first call is on shapes
    )
    with pytest.raises(RuntimeError, match="no"):
        extract(network, parts, REQUEST)
    handle.remove()
    assert points
    assert not any(module._forward_hooks for module in network.modules())


def test_a_probe_larger_than_the_part_is_the_part():
    network = trained("cbr")
    found = extract(network, {"test": part_of("cbr", 5, 0)}, Request(probe=100, gram_block=64))
    assert found.facts.probe == 5
    assert found.gram("layers.0", 0).shape == (5, 5)
    assert found.facts.blocks == 1


def test_the_points_of_correlations_can_be_chosen():
    network = trained("cbr")
    request = Request(probe=5, gram_block=5, row_count=10, cca_points=("layers.1",))
    found = extract(network, {"test": part_of("cbr", 5, 0)}, request)
    assert found.facts.cca_points == ("layers.1",)
    assert found.rows("layers.1").shape == (10, 16)
    with pytest.raises(DataError, match=r"rows/layers.0'; there are, for example: rows/layers.1"):
        found.rows("layers.0")
    with pytest.raises(ConfigError, match=r"'layer.1' .* allowed: layers.0, layers.1"):
        wrong = Request(cca_points=("layer.1",))
        extract(network, {"test": part_of("cbr", 5, 0)}, wrong)


def test_activations_that_are_not_finite_are_an_error():
    network = trained("cbr")
    with torch.no_grad():
        network.layers[1].conv.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="NaN"):
        extract(network, parts_of("cbr"), REQUEST)


def test_each_image_needs_an_id():
    with pytest.raises(DataError, match="5 images with 2 ids"):
        Images(pixels_of("cbr", 5, 0), specification(), ("a", "b"))


def test_no_batch_is_small_and_all_images_come_in_order():
    part = part_of("cbr", TEST, 0, batch_size=11)
    batches = list(part.batches())
    assert [len(batch) for batch in batches] == [8, 8, 7]
    expected = normalised(evaluation_images(part.pixels, part.specification.recipe), part.specification)
    assert torch.equal(torch.cat(batches), expected)
    assert torch.equal(torch.cat(list(part.batches(range(5, 19)))), expected[5:19])
    assert list(part.batches(range(4, 4))) == []
    short = part_of("cbr", TEST, 0, micro_batch_size=4)
    assert {len(batch) for batch in short.batches()} == {3, 4}


def test_what_is_not_a_file_of_activations_is_an_error(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(DataError, match="no such file"):
        read_activations(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(DataError, match="damaged, no whole file of activations"):
        read_activations(path)
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, path)
    with pytest.raises(DataError, match="format 1"):
        read_activations(path)


def test_unknown_points_are_named():
    found = extract(trained("cbr"), {"test": part_of("cbr", 5, 0)}, Request(probe=5, gram_block=5))
    assert found.facts.point("layers.2").channels == 32
    with pytest.raises(DataError, match=r"no measured point 'x'; there are: layers\.0"):
        found.facts.point("x")
    with pytest.raises(DataError, match=r"no activations 'pooled/test/layers\.0/cls'"):
        found.pooled("test", "layers.0", "cls")
