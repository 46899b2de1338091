"""How a network is computed: looked up in measurements, forced by a user, never timed at the start."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from training_runs import CPU, MODEL, problem, specification

from medtransfer.config.model import ModelSettings
from medtransfer.errors import ConfigError
from medtransfer.models.build import build_network
from medtransfer.training.arithmetic import (
    Arithmetic,
    Measurement,
    Measurements,
    Rate,
    add_measurements,
    attentions,
    choose,
    known_measurements,
    network_name,
    prepare,
    processor_model,
)
from medtransfer.training.calibration import ARITHMETICS, Effort, measure
from medtransfer.training.inputs import normalised
from medtransfer.training.prediction import logits_of, predict

GPU = torch.device("cuda")  # named only; nothing is computed on it here


def measurement(**rates: float) -> Measurement:
    """Rates by names such as ``bfloat16_channels_last``; a name may end in ``_compiled``."""
    found = []
    for name, rate in rates.items():
        precision, _, layout = name.removesuffix("_compiled").partition("_")
        found.append(Rate(Arithmetic(precision, layout, name.endswith("_compiled")), rate))
    return Measurement("a processor", 2, "a network", 96, 32, "2.15.0", tuple(found))


MEASURED = measurement(
    float32_channels_last=100,
    float32_contiguous=130,
    bfloat16_channels_last=200,
    bfloat16_contiguous=90,
    bfloat16_channels_last_compiled=300,
)


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("auto", CPU, Arithmetic("float32", "channels_last")),
        ("fast", CPU, Arithmetic("float32", "channels_last")),
        ("float32", CPU, Arithmetic("float32", "channels_last")),
        ("bfloat16", CPU, Arithmetic("bfloat16", "channels_last")),
        ("auto", GPU, Arithmetic("bfloat16", "channels_last")),
        ("fast", GPU, Arithmetic("bfloat16", "channels_last")),
        ("float32", GPU, Arithmetic("float32", "channels_last")),
    ],
)
def test_what_was_never_measured_is_computed_in_a_safe_way(precision, device, expected):
    assert choose(precision, device) == expected


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("auto", Arithmetic("float32", "contiguous")),
        ("float32", Arithmetic("float32", "contiguous")),
        ("bfloat16", Arithmetic("bfloat16", "channels_last")),
        ("fast", Arithmetic("bfloat16", "channels_last")),
    ],
)
def test_the_fastest_of_the_precision_that_a_recipe_allows_is_taken(precision, expected):
    assert choose(precision, CPU, MEASURED) == expected


def test_only_a_recipe_that_asks_for_it_takes_bfloat16_on_a_cpu_because_of_a_measurement():
    assert choose("auto", CPU, MEASURED).precision == "float32"
    assert choose("fast", CPU, MEASURED).precision == "bfloat16"


@pytest.mark.parametrize(("gain", "expected"), [(1.05, "float32"), (1.2, "bfloat16")])
def test_bfloat16_must_bring_a_tenth_on_a_cpu(gain, expected):
    close = measurement(float32_channels_last=100, bfloat16_channels_last=100 * gain)
    assert choose("fast", CPU, close).precision == expected
    # a GPU computes in bfloat16 unless float32 is faster
    assert choose("fast", GPU, close).precision == "bfloat16"


def test_a_user_forces_memory_format_and_compilation():
    assert choose("auto", CPU, MEASURED, "channels_last") == Arithmetic("float32", "channels_last")
    assert choose("fast", CPU, MEASURED, "contiguous") == Arithmetic("float32", "contiguous")
    assert choose("bfloat16", CPU, MEASURED, compiled=True) == Arithmetic(
        "bfloat16", "channels_last", True
    )
    # also where it was never measured
    assert choose("auto", CPU, MEASURED, compiled=True) == Arithmetic("float32", "channels_last", True)
    assert choose("auto", CPU, None, "contiguous") == Arithmetic("float32", "contiguous")


def test_the_nearest_measurement_of_the_same_network_on_the_same_processor_counts():
    table = Measurements(
        (
            replace(MEASURED, side=64, threads=1),
            replace(MEASURED, side=64, threads=4),
            replace(MEASURED, side=96),
            replace(MEASURED, side=96, batch_size=8),
        )
    )

    def found(side, threads=2, processor="a processor", network="a network"):
        nearest = table.nearest(processor, network, side, threads)
        return None if nearest is None else (nearest.side, nearest.threads, nearest.batch_size)

    assert found(64, 1) == (64, 1, 32)
    assert found(70, 8) == (64, 4, 32)
    assert found(90, 1) == (96, 2, 8)  # the later one
    assert found(150) == (96, 2, 8)
    assert found(224) is None
    assert found(32) is None
    assert found(96, processor="another") is None
    assert found(96, network="another") is None


def test_measurements_are_written_read_and_replaced(tmp_path):
    path = tmp_path / "deep" / "arithmetic.json"
    add_measurements(path, [MEASURED, replace(MEASURED, side=64)])
    add_measurements(path, [replace(MEASURED, batch_size=8)])
    before = len(known_measurements().measurements)
    found = known_measurements(path, tmp_path / "absent.json").measurements[before:]
    assert found == (replace(MEASURED, side=64), replace(MEASURED, batch_size=8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"measurements": [{"side": 0}]}', "side"),
        ('{"measurement": []}', "measurement"),
    ],
)
def test_a_file_that_is_none_of_measurements_is_named(tmp_path, text, message):
    path = tmp_path / "arithmetic.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        known_measurements(path)
    assert str(path) in str(error.value)
    with pytest.raises(ConfigError):
        add_measurements(path, [MEASURED])
    assert path.read_text() == text


def test_the_measurements_of_the_package_can_be_read():
    for found in known_measurements().measurements:
        tried = [rate.arithmetic for rate in found.rates]
        assert set(ARITHMETICS) <= set(tried)
        assert len(set(tried)) == len(tried)
        assert all(rate.images_per_second > 0 for rate in found.rates)


def test_networks_that_differ_in_their_arguments_have_other_names():
    wide = ModelSettings("cbr", {"kernel_size": 3, "channels": [16, 32]})
    same = ModelSettings("cbr", {"channels": [16, 32], "kernel_size": 3}, grey_input="repeat")
    assert network_name(wide) == network_name(same) != network_name(MODEL)
    assert network_name(ModelSettings("resnet18")) == "resnet18"


def test_a_processor_is_named_by_family_and_model(tmp_path):
    table = tmp_path / "cpuinfo"
    core = "processor\t: {}\nmodel name\t: Some CPU\ncpu family\t: 26\nmodel\t\t: 2\nflags\t: fpu\n\n"
    table.write_text(core.format(0) + core.format(1))
    assert processor_model(CPU, table) == "Some CPU, family 26, model 2"
    assert processor_model(CPU, tmp_path / "absent")


def test_calibration_measures_every_arithmetic():
    small = Effort(rounds=1, seconds=0.0)
    found = measure(MODEL, 12, 4, CPU, effort=small)
    assert [rate.arithmetic for rate in found.rates] == list(ARITHMETICS)
    assert all(rate.images_per_second > 0 for rate in found.rates)
    assert (found.side, found.batch_size, found.threads) == (12, 4, torch.get_num_threads())
    table = Measurements((found,))
    assert table.nearest(processor_model(CPU), network_name(MODEL), 12) == found


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_network_and_images_have_the_memory_format(layout):
    arithmetic = Arithmetic("float32", layout)
    network = prepare(build_network(MODEL, 3, 1, 12, 0), arithmetic, CPU)
    plan = specification(arithmetic=arithmetic)
    images = normalised(torch.rand(2, 3, 12, 12), plan)
    weight = next(p for p in network.parameters() if p.ndim == 4 and p.shape[2] > 1 and p.shape[1] > 1)
    for tensor in (weight, images):
        last = tensor.is_contiguous(memory_format=torch.channels_last)
        assert (last, tensor.is_contiguous()) == (layout == "channels_last", layout == "contiguous")


def test_a_runs_arithmetic_wins_over_its_recipe_and_changes_its_logits_as_it_must():
    pixels = problem("binary", count=16).pixels
    network = build_network(MODEL, 1, 1, 12, 0)

    def logits(arithmetic: Arithmetic | None, **changes: str):
        plan = specification(arithmetic=arithmetic, **changes)
        if arithmetic is not None:
            prepare(network, arithmetic, CPU)
        return torch.from_numpy(predict(network, pixels, plan))

    exact = logits(Arithmetic())
    assert torch.equal(logits(None), exact)
    assert torch.equal(logits(Arithmetic(), precision="bfloat16"), exact)
    torch.testing.assert_close(logits(Arithmetic("float32", "contiguous")), exact, rtol=1e-5, atol=1e-6)
    rough = logits(Arithmetic("bfloat16"))
    assert torch.equal(logits(None, precision="bfloat16"), rough)
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)


def test_a_compiled_network_keeps_its_tensors_and_compiles_when_called(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    network = build_network(MODEL, 1, 1, 12, 0)
    names = list(network.state_dict())
    assert prepare(network, Arithmetic(), CPU) is network
    assert compiled == []
    assert prepare(network, Arithmetic(compiled=True), CPU) is network
    assert compiled == [network]
    assert list(network.state_dict()) == names


def test_plain_attention_is_attention_but_for_rounding():
    model = ModelSettings("test_vit", {"depth": 2})
    arithmetics = (Arithmetic(), Arithmetic(attention="plain"))
    networks = [prepare(build_network(model, 3, 2, 160, 0), a, CPU).eval() for a in arithmetics]
    assert [[m.fused_attn for m in attentions(n)] for n in networks] == [[True] * 2, [False] * 2]
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    fused, plain = (network(images) for network in networks)
    assert not torch.equal(fused, plain)
    torch.testing.assert_close(plain, fused, rtol=1e-4, atol=1e-5)


def test_calibration_tries_plain_attention_where_there_is_attention():
    model = ModelSettings("test_vit", {"depth": 1})
    small = Effort(rounds=1, seconds=0.0)
    rates = measure(model, 160, 2, CPU, [Arithmetic("bfloat16")], small).rates
    assert [rate.arithmetic.attention for rate in rates] == ["fused", "plain"]
    found = Measurement(
        "", 1, "", 1, 1, "", (Rate(rates[0].arithmetic, 1), Rate(rates[1].arithmetic, 2))
    )
    assert choose("bfloat16", CPU, found).attention == "plain"


def test_logits_are_float32_in_bfloat16_too():
    plan = specification(arithmetic=Arithmetic("bfloat16"))
    network = build_network(MODEL, 1, 1, 12, 0)
    assert logits_of(network, torch.rand(2, 1, 12, 12), plan).dtype == torch.float32


def test_the_record_of_a_run_can_hold_it():
    plan = specification(arithmetic=Arithmetic("bfloat16", "contiguous"))
    assert json.loads(json.dumps(plan.arithmetic.__dict__))["memory_format"] == "contiguous"
