"""Files of weights from the network: what timm publishes of a tag, and how they are had without one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import timm
import torch
import yaml
from http_server import hosts, ranged, status, whole

from medtransfer.config.model import ModelSettings
from medtransfer.config.source import SourceSettings, WeightFileSettings
from medtransfer.config.typed import parse
from medtransfer.data.download import Patience
from medtransfer.errors import ConfigError, DataError
from medtransfer.models.build import build_network
from medtransfer.models.hub import address, completed, fetched

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = sorted((PROJECT / "config" / "sources").glob("*.yaml"))
HASTY = Patience(timeout=5, tries=2, first_wait=0.01)
BODY = b"tensors" * 100
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def host():
    with hosts() as start:
        yield start()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Files go below the working folder; no mirror of the hub is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


def remote(url: str, sha256: str = SHA256) -> WeightFileSettings:
    return WeightFileSettings(url=url, sha256=sha256, mean=HALF, std=HALF)


# what is published of a tag


def test_a_tag_brings_its_normalisation_size_licence_and_address():
    file = completed(WeightFileSettings(hub="vit_base_patch16_clip_224.openai"))
    assert file.mean == (0.48145466, 0.4578275, 0.40821073)  # CLIP's own
    assert file.std == (0.26862954, 0.26130258, 0.27577711)
    assert (file.image_size, file.licence) == (224, "apache-2.0")
    assert file.origin == (
        "https://huggingface.co/timm/vit_base_patch16_clip_224.openai/resolve/main/model.safetensors"
    )
    assert completed(WeightFileSettings(hub="vit_small_patch14_dinov2.lvd142m")).image_size == 518


def test_what_is_given_stands_above_what_is_published():
    given = WeightFileSettings(
        hub="resnet50.tv_in1k", mean=HALF, std=(1.0,), image_size=96, origin="o", licence="l"
    )
    assert completed(given) == given


def test_an_unknown_tag_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"'resnet50.tv_in1'; did you mean 'resnet50.tv_in1k'\?"):
        completed(WeightFileSettings(hub="resnet50.tv_in1"))


def test_a_tag_without_a_file_on_the_hub_is_an_error_that_gives_its_url():
    tag = next(t for t in timm.list_pretrained() if not timm.get_pretrained_cfg(t).hf_hub_id)
    with pytest.raises(ConfigError, match=r"isn't on the hub; give 'url: http"):
        address(tag)


def test_repositories_other_than_timms_own_are_found():
    assert address("davit_base_fl.msft_florence2").startswith(
        "https://huggingface.co/microsoft/Florence-2-base/resolve/main/"
    )


def test_the_address_is_where_timm_itself_would_look(monkeypatch):
    """The first request that timm makes for a tag, without a network."""
    asked = []

    def hf_hub_download(repo_id, filename, revision=None, **_):
        asked.append(f"https://huggingface.co/{repo_id}/resolve/{revision or 'main'}/{filename}")
        raise KeyboardInterrupt

    monkeypatch.setattr("timm.models._hub.hf_hub_download", hf_hub_download)
    for tag in ("resnet50.tv_in1k", "resnetv2_50x1_bit.goog_in21k", "vit_small_patch16_224.dino"):
        with pytest.raises(KeyboardInterrupt):
            timm.create_model(tag, pretrained=True)
        assert asked[-1] == address(tag)


# how a file comes


def test_a_file_is_kept_by_the_last_part_of_its_address(host):
    path = fetched(remote(host.says(ranged(BODY), path="/a/w%20x.npz") + "?token=1"), patience=HASTY)
    assert path == Path("resources/weights/files/w x.npz")
    assert path.read_bytes() == BODY


def test_a_tag_is_kept_under_its_own_name_and_asks_the_mirror(host, monkeypatch):
    where = "/timm/resnet18.tv_in1k/resolve/main/model.safetensors"
    host.says(ranged(BODY), path=where)
    monkeypatch.setenv("HF_ENDPOINT", host.url("/"))
    path = fetched(WeightFileSettings(hub="resnet18.tv_in1k"), patience=HASTY)
    assert path == Path("resources/weights/files/resnet18.tv_in1k.safetensors")
    assert path.read_bytes() == BODY
    assert len(host.asked("User-Agent", path=where)) == 1


def test_a_file_that_is_here_is_not_asked_for(host):
    url = host.says(ranged(BODY), path="/here.npz")
    Path("resources/weights/files").mkdir(parents=True)
    Path("resources/weights/files/here.npz").write_bytes(BODY)
    assert fetched(remote(url), patience=HASTY).read_bytes() == BODY
    assert host.asked("User-Agent", path="/here.npz") == []


def test_a_file_that_is_here_with_another_checksum_is_an_error_and_stays(host):
    url = host.says(ranged(BODY), path="/other.npz")
    Path("resources/weights/files").mkdir(parents=True)
    Path("resources/weights/files/other.npz").write_bytes(b"mine")
    with pytest.raises(DataError, match=rf"other\.npz: sha256 .* expected {SHA256}"):
        fetched(remote(url), patience=HASTY)
    assert Path("resources/weights/files/other.npz").read_bytes() == b"mine"


def test_a_download_with_another_checksum_is_refused_and_not_kept(host):
    url = host.says(ranged(BODY), path="/bad.npz")
    with pytest.raises(DataError, match=f"sha256 {SHA256} found, expected {'0' * 64}"):
        fetched(remote(url, "0" * 64), patience=HASTY)
    assert not Path("resources/weights/files/bad.npz").exists()


@pytest.mark.parametrize("way", ["absent", "offline"])
def test_what_cannot_be_had_says_which_file_goes_where_and_from_which_address(host, way):
    url = host.says(status(404), path="/gone.npz")
    if way == "offline":
        url = "http://127.0.0.1:1/gone.npz"
    with pytest.raises(DataError) as caught:
        fetched(remote(url), patience=HASTY)
    assert f"get {url} on another machine" in str(caught.value)
    assert "put it here as resources/weights/files/gone.npz" in str(caught.value)


def test_a_web_page_instead_of_a_hub_file_is_refused(host, monkeypatch):
    where = "/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    host.says(whole(b"<html>", Content_Type="text/html"), path=where)
    monkeypatch.setenv("HF_ENDPOINT", host.url(""))
    with pytest.raises(DataError, match="web page"):
        fetched(WeightFileSettings(hub="resnet18.a1_in1k"), patience=HASTY)


# settings


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "found none of 'path', 'url' and 'hub'"),
        ({"path": "a", "hub": "b.c"}, "found path and hub"),
        ({"path": "a", "std": [1.0]}, "key 'mean' is missing"),
        ({"path": "a", "mean": [0.0]}, "key 'std' is missing"),
        ({"path": "a", "mean": [0.0], "std": [0.0]}, "key 'std' is"),
        ({"path": "a", "mean": [0.0, 1.0], "std": [1.0]}, "key 'mean' has 2 values"),
        ({"url": "https://a/b.npz", "mean": [0.0], "std": [1.0]}, "needs 'sha256'"),
        ({"url": "https://a/", "sha256": "0" * 64, "mean": [0.0], "std": [1.0]}, "key 'name' is ''"),
        ({"url": "a/b", "md5": "0" * 32, "mean": [0.0], "std": [1.0]}, "no web address"),
        ({"url": "https://a/b", "md5": "0", "mean": [0.0], "std": [1.0]}, "md5 is '0'"),
        ({"hub": "resnet50"}, "key 'hub' is 'resnet50'"),
        ({"hub": "../resnet50.a"}, "key 'hub' is"),
        ({"hub": "a.b", "drop": ["("]}, "key 'drop' has"),
        ({"hub": "a.b", "rename": [{"pattern": "("}]}, "key 'pattern' has"),
        ({"hub": "a.b", "rename": [{"pattern": "a", "replacement": "\\1"}]}, "doesn't fit"),
        ({"hub": "a.b", "converter": "keras"}, "allowed: none | timm | bit"),
    ],
)
def test_settings_that_make_no_sense_are_errors_that_name_the_key(keys, message):
    with pytest.raises(ConfigError) as caught:
        parse(SourceSettings, {"files": {"net": keys}}, "source.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("source.yaml: ")


def test_a_checksum_may_have_large_letters(host):
    url = host.says(ranged(BODY), path="/large.npz")
    assert fetched(remote(url, SHA256.upper()), patience=HASTY).is_file()


# the sources that come with the project


def entries() -> list[tuple[str, str, WeightFileSettings]]:
    return [
        (path.stem, model, file)
        for path in SOURCES
        for model, file in parse(
            SourceSettings, yaml.safe_load(path.read_text()), str(path)
        ).files.items()
    ]


@pytest.mark.parametrize(
    ("model", "file"), [pytest.param(m, file, id=f"{source}-{m}") for source, m, file in entries()]
)
def test_every_shipped_entry_has_a_network_a_tag_a_licence_and_a_normalisation(model, file):
    settings = yaml.safe_load((PROJECT / f"config/models/{model}.yaml").read_text())
    settings = parse(ModelSettings, settings, model)
    facts = completed(file)
    assert len(facts.mean) == len(facts.std) == 3
    assert facts.licence and facts.origin
    if file.hub is not None:
        assert file.hub in timm.list_pretrained()
        assert file.hub.split(".")[0] == settings.architecture
        assert address(file.hub).endswith(f"/{file.hub}/resolve/main/model.safetensors")
    with torch.device("meta"):  # without memory
        build_network(settings, 3, 5, facts.image_size or 224, seed=0)


def test_the_studies_networks_have_their_sources():
    found = {(source, model) for source, model, _ in entries()}
    bit = {"bit_r50x1", "bit_r101x1", "bit_r101x3", "bit_r152x4"}
    vision_transformers = {"deit_ti", "deit_s", "deit_b", "swin_t", "swin_s"}
    convolutional = {"resnet50", "inception_v3", "mobilenetv2", "efficientnet_b0", "resnet50_keras"}
    expected = {("imagenet1k", model) for model in bit | vision_transformers | convolutional}
    expected |= {("imagenet21k", model) for model in bit}
    expected |= {("radimagenet", "resnet50_keras"), ("dino", "vit_s_dino")}
    assert expected <= found
