"""Models as files: what is written comes back, damaged files are refused, published ones are read."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from volume_vae_models import dense_model, rate_model

from scene_codec.codecs.volume_vae.config import PRESETS, training_settings_for
from scene_codec.codecs.volume_vae.decoder import model_of
from scene_codec.codecs.volume_vae.encoder import model_sections
from scene_codec.codecs.volume_vae.model import (
    BlockModel,
    ModelCard,
    load_model,
    pack_model,
    read_model,
    save_model,
    shipped_models,
)
from scene_codec.codecs.volume_vae.published_weights import read_published_weights
from scene_codec.errors import (
    CorruptFileError,
    InvalidRequestError,
    UnsupportedSceneError,
    UnsupportedVersionError,
)
from scene_codec.networks.block_vae import BlockNetworkShape, make_network


@pytest.mark.parametrize("make", [rate_model, dense_model])
def test_a_model_comes_back_from_its_file(make, tmp_path):
    model = make(1)
    save_model(tmp_path / "m.nscmodel", model.data)
    again = load_model(str(tmp_path / "m.nscmodel"))
    assert again.header == model.header
    assert again.identity == model.identity
    np.testing.assert_array_equal(again.contexts, model.contexts)
    for before, after in zip(model.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(before, after)


def test_packing_a_read_model_again_gives_the_same_bytes():
    model = rate_model(2, 40)
    assert pack_model(model.network, model.header.card, model.contexts) == model.data


@pytest.mark.parametrize("make", [rate_model, dense_model])
def test_the_decoding_half_decodes_like_the_whole(make):
    model = make(1)
    half = model_of({section.kind: section.payload for section in model_sections(model)}, torch.device("cpu"))
    latents = torch.randn(3, model.header.latents, generator=torch.Generator().manual_seed(0))
    assert torch.equal(half.network.synthesise(latents), model.network.synthesise(latents))
    assert half.header.part == "decoder"


def test_every_prefix_and_every_longer_file_is_refused():
    data = dense_model().data
    for length in [*range(0, 60), len(data) // 2, len(data) - 1]:
        with pytest.raises(CorruptFileError):
            read_model(data[:length])
    with pytest.raises(CorruptFileError):
        read_model(data + b"\0")


def test_a_newer_version_is_told_from_damage():
    data = bytearray(dense_model().data)
    data[8] = 9
    with pytest.raises(UnsupportedVersionError, match="Update"):
        read_model(bytes(data))


def test_a_weight_that_is_no_number_is_refused():
    network = make_network(BlockNetworkShape("dense", 0, 2, 2), torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.mean.bias.fill_(float("nan"))
    with pytest.raises(CorruptFileError, match="finite"):
        read_model(pack_model(network, ModelCard()))


def test_a_model_that_is_not_there_is_answered_with_what_is(tmp_path):
    with pytest.raises(InvalidRequestError, match="train-volume"):
        load_model(str(tmp_path / "none.nscmodel"))


def test_the_model_of_every_preset_ships_and_is_of_its_kind():
    assert {settings.model for _, settings in PRESETS.values()} == set(shipped_models())
    for preset, (_, settings) in PRESETS.items():
        header, training = load_model(settings.model).header, training_settings_for(preset)
        assert (header.kind, header.margin) == (training.network, training.margin)
        assert (header.latents, header.hidden) == (training.latents, training.hidden)
        assert header.part == "whole"


def test_the_wheel_holds_the_models():
    builders = pytest.importorskip("hatchling.builders.wheel")
    checkout = Path(__file__).parents[3]
    inside = {
        entry.distribution_path for entry in builders.WheelBuilder(str(checkout)).recurse_included_files()
    }
    folder = "scene_codec/codecs/volume_vae/models"
    assert {f"{folder}/{name}.nscmodel" for name in shipped_models()} <= {
        path.replace("\\", "/") for path in inside
    }


@pytest.mark.parametrize(("damage", "error"), [(b"", CorruptFileError), (b"\x09", UnsupportedVersionError)])
def test_a_file_that_cannot_be_read_is_named(tmp_path, damage, error):
    path = tmp_path / "scans.nscmodel"
    data = dense_model().data
    path.write_bytes(data[:8] + damage + data[9:] if damage else data[: len(data) // 2])
    with pytest.raises(error, match=r"scans\.nscmodel"):
        load_model(str(path))


def test_shipped_models_can_be_read_and_say_what_they_were_trained_on():
    for name in shipped_models():
        model = load_model(name)
        assert isinstance(model, BlockModel)
        assert model.header.card.data
        assert model.header.precision == "float16"


def published(path, side=8, **changes):
    """Write a file as the paper's author did, and return its tensors."""
    generator = torch.Generator().manual_seed(0)
    sizes = {
        "encoder.0": (5, side**3),
        "fc_mu": (3, 5),
        "fc_var": (3, 5),
        "decoder.0": (5, 3),
        "decoder.2": (side**3, 5),
    }
    state = {}
    for name, (outputs, inputs) in sizes.items():
        state[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator)
        state[f"{name}.bias"] = torch.randn(outputs, generator=generator)
    content = {"state_dict": state, "in_shape": (side,) * 3, "latent_dim": 3, "hidden_dims": [5], **changes}
    torch.save(content, path)
    return state


@pytest.mark.parametrize("side", [8, 12])
def test_published_weights_give_what_the_published_network_gives(tmp_path, side):
    state = published(tmp_path / "w.pt", side)
    model = read_published_weights(tmp_path / "w.pt")
    blocks = torch.rand(4, side, side, side, generator=torch.Generator().manual_seed(1))
    # The published blocks run z, y, x.
    flat = blocks.permute(0, 3, 2, 1).flatten(1)
    hidden = torch.nn.functional.leaky_relu(flat @ state["encoder.0.weight"].T + state["encoder.0.bias"])
    latents = hidden @ state["fc_mu.weight"].T + state["fc_mu.bias"]
    torch.testing.assert_close(model.network.analyse(blocks.flatten(1)), latents, rtol=1e-4, atol=1e-4)
    hidden = torch.nn.functional.leaky_relu(latents @ state["decoder.0.weight"].T + state["decoder.0.bias"])
    decoded = (hidden @ state["decoder.2.weight"].T + state["decoder.2.bias"]).sigmoid()
    turned = decoded.view(-1, side, side, side).permute(0, 3, 2, 1).flatten(1)
    torch.testing.assert_close(model.network.synthesise(latents), turned, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"in_shape": (9, 9, 9)},
        {"in_shape": None},
        {"hidden_dims": [5, 5]},
        {"latent_dim": 4},
        {"latent_dim": "3"},
        {"state_dict": {}},
        {"state_dict": None},
    ],
)
def test_other_checkpoints_are_refused_with_a_reason(tmp_path, changes):
    published(tmp_path / "w.pt", **changes)
    with pytest.raises(UnsupportedSceneError, match="does not hold a published block VAE"):
        read_published_weights(tmp_path / "w.pt")


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"\x80\x02cos\nsystem\n")
    with pytest.raises(UnsupportedSceneError, match="cannot read"):
        read_published_weights(tmp_path / "w.pt")
    with pytest.raises(UnsupportedSceneError, match="no such file"):
        read_published_weights(tmp_path / "missing.pt")
