"""First layers for other numbers of bands: reference numbers, and what the factor C/D promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference.vectors import reference
from safetensors.torch import save_file

from core.encoders.channels import adapt_channels, adapt_input
from core.encoders.image import ResNetEncoder
from core.encoders.vit import VisionTransformer
from core.errors import ConfigError

SENTINEL_RGB = {3: 0, 2: 1, 1: 2}


def test_reference_numbers():
    arrays = reference("softcon_patchembed_init_reconstruction")
    rgb = torch.from_numpy(arrays["w_rgb"])
    for key, expected in arrays.items():
        kind, _, count = key.rpartition("_")
        if kind not in ("mean", "rgbcopy"):
            continue
        copy = SENTINEL_RGB if kind == "rgbcopy" else None
        ours = adapt_channels(rgb, int(count), copy=copy).numpy()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("bands", [1, 2, 4, 12, 13])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_inflated_layer_answers_an_image_of_equal_bands_as_before(bands, axes):
    conv = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    weight = torch.randn(4, 3, *[3] * axes, dtype=torch.float64)
    grey = torch.randn(2, 1, *[6] * axes, dtype=torch.float64)

    def spread(channels: int) -> torch.Tensor:
        return grey.repeat(1, channels, *[1] * axes)

    before = conv(spread(3), weight)
    torch.testing.assert_close(conv(spread(bands), adapt_channels(weight, bands)), before)
    if bands >= 4:
        copied = adapt_channels(weight, bands, copy=SENTINEL_RGB)
        torch.testing.assert_close(conv(spread(bands), copied), before)


def test_as_many_bands_as_before_change_nothing_and_copy_reorders():
    weight = torch.randn(2, 3, 3, 3)
    assert adapt_channels(weight, 3) is weight
    assert torch.equal(adapt_channels(weight, 3, copy={0: 2, 1: 1, 2: 0}), weight.flip(1))


def test_mistakes_are_named():
    weight = torch.zeros(2, 3, 3, 3)
    with pytest.raises(ConfigError, match=r"copy=\{5: 0\}"):
        adapt_channels(weight, 4, copy={5: 0})
    with pytest.raises(ConfigError, match="channels"):
        adapt_channels(weight, 0)
    with pytest.raises(ConfigError, match="convolution weight"):
        adapt_channels(torch.zeros(2, 3), 4)
    with pytest.raises(ConfigError, match="input_init"):
        adapt_input({"w": weight}, "w", 4, "average")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="name the bands"):
        adapt_input({"w": weight}, "w", 4, "copy")


@pytest.mark.parametrize("init", ["inflate", "copy", "random"])
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda c: ResNetEncoder(channels=c, blocks=(1, 1, 1, 1), widths=(4, 4, 4, 4)), (32, 32)),
        (lambda c: VisionTransformer(channels=c, image_size=28, dim=8, depth=1, heads=1), (28, 28)),
    ],
)
def test_an_rgb_checkpoint_loads_into_13_bands(build, shape, init, tmp_path):
    rgb, bands = build(3).eval(), build(13).eval()
    first = dict(bands.named_parameters())
    key = next(name for name in first if name.endswith(bands.input_key))
    before = first[key].detach().clone()
    save_file(rgb.state_dict(), tmp_path / "rgb.safetensors")
    report = bands.load_weights(tmp_path / "rgb.safetensors", input_init=init, copy=SENTINEL_RGB)
    assert report.adapted == (f"{bands.input_key}: 3 -> 13 channels ({init})",)
    assert not report.mismatched
    grey = torch.rand(1, 1, *shape)
    with torch.no_grad():
        same = torch.allclose(bands(grey.repeat(1, 13, 1, 1)), rgb(grey.repeat(1, 3, 1, 1)), atol=1e-4)
    if init == "random":
        assert torch.equal(first[key], before)
        assert report.missing == (bands.input_key,)
    else:
        assert same
        assert report.complete
