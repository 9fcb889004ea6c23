"""VisionTransformer against DINOv2's own numbers and transformers', and what masking promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.vectors import reference, reference_names
from safetensors.torch import save_file

from core.encoders.vit import VisionTransformer, random_mask, resample_positions
from core.errors import ConfigError, DataError


def _from_weights(arrays: dict[str, np.ndarray], heads: int) -> VisionTransformer:
    """The network that reference weights belong to; their shapes tell all but the number of heads."""
    weights = {key[2:]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith("w/")}
    dim, channels, patch, _ = weights["patch_embed.proj.weight"].shape
    side = round((weights["pos_embed"].shape[1] - 1) ** 0.5)
    net = VisionTransformer(
        channels=channels,
        image_size=side * patch,
        patch=patch,
        dim=dim,
        depth=sum(key.endswith("norm1.weight") for key in weights),
        heads=heads,
        mlp_ratio=weights["blocks.0.mlp.fc1.bias"].shape[0] / dim,
        qkv_bias="blocks.0.attn.qkv.bias" in weights,
        layer_scale=1e-5 if "blocks.0.ls1.gamma" in weights else None,
    ).eval()
    net.load_state_dict(weights, strict=True)
    return net


@pytest.fixture(params=reference_names("softcon_vit_") or ["softcon_vit_s2_official"])
def official(request):
    """Arrays and network of one file, with the number of heads (3 in ours) that gives its CLS token."""
    arrays = reference(request.param)
    dim = arrays["cls"].shape[-1]
    x, expected = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["cls"])
    errors = {}
    with torch.no_grad():
        for heads in sorted((h for h in range(1, dim + 1) if dim % h == 0), key=lambda h: h != 3):
            net = _from_weights(arrays, heads)
            errors[heads] = float((net(x) - expected).abs().max())
            if errors[heads] < 1e-4:
                return {key: torch.from_numpy(value) for key, value in arrays.items()}, net
    pytest.fail(f"no number of heads gives the reference CLS token; largest differences {errors}")


def test_official_tokens(official):
    arrays, net = official
    with torch.no_grad():
        plain = net.tokens(arrays["x"])
        masked = net.tokens(arrays["x"], arrays["mask"])
        rect = net.tokens(arrays["x_rect"])
        last = net.intermediate(arrays["x"], len(arrays["last2_cls"]))
    pairs = {
        "cls": plain.cls,
        "patch": plain.patches,
        "cls_masked": masked.cls,
        "patch_masked": masked.patches,
        "cls_rect": rect.cls,
        "patch_rect": rect.patches,
        "last2_cls": torch.stack([tokens.cls for tokens in last]),
        "last2_patch": torch.stack([tokens.patches for tokens in last]),
    }
    for key, ours in pairs.items():
        torch.testing.assert_close(
            ours, arrays[key], atol=1e-4, rtol=1e-4, msg=lambda m, key=key: f"{key}: {m}"
        )


def test_official_numbers_in_float64_and_with_recorded_attention(official):
    from core.encoders.transformer import recorded_attention

    arrays, net = official
    with torch.no_grad():
        exact = net.double()(arrays["x"].double())
        with recorded_attention(net) as layers:
            explicit = net(arrays["x"].double())
            rows = torch.stack([layer.recorded.sum(-1) for layer in layers])
    torch.testing.assert_close(exact.float(), arrays["cls"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(explicit, exact, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_equals_transformers_at_its_own_size_and_loads_its_folder(tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    theirs = Dinov2Model(
        Dinov2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            mlp_ratio=2,
            image_size=42,
            patch_size=14,
            layerscale_value=0.7,
        )
    ).eval()
    theirs.save_pretrained(tmp_path)
    ours = VisionTransformer(image_size=42, dim=16, depth=2, heads=4, mlp_ratio=2).eval()
    assert ours.load_weights(tmp_path, strict=True).complete
    x = torch.randn(2, 3, 42, 42)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).pooler_output, atol=1e-5, rtol=1e-5)


def test_positions_of_another_image_size_resampled_at_load_equal_those_resampled_at_each_call(tmp_path):
    torch.manual_seed(0)
    large = VisionTransformer(image_size=70, dim=8, depth=1, heads=1).eval()
    small = VisionTransformer(image_size=28, dim=8, depth=1, heads=1).eval()
    save_file(large.state_dict(), tmp_path / "large.safetensors")
    report = small.load_weights(tmp_path / "large.safetensors", strict=True)
    assert report.adapted == ("pos_embed: 25 -> 4 positions",)
    x = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(small(x), large(x))


@pytest.mark.parametrize("grid", [(1, 1), (2, 5), (16, 16), (19, 19), (37, 3), (64, 64)])
def test_position_grids_come_out_as_asked(grid):
    assert resample_positions(torch.randn(1, 17, 4), grid).shape == (1, 1 + grid[0] * grid[1], 4)


def test_dropped_patches_leave_no_trace():
    torch.manual_seed(0)
    net = VisionTransformer(image_size=56, dim=16, depth=2, heads=2).eval()
    x = torch.randn(2, 3, 56, 56)
    mask = random_mask(2, 16, 0.5, generator=torch.Generator().manual_seed(3))
    noisy = x.clone()
    hidden = mask.reshape(2, 1, 4, 4).repeat_interleave(14, 2).repeat_interleave(14, 3).expand_as(x)
    noisy[hidden] = 100.0
    with torch.no_grad():
        for mode in ("drop", "token"):
            assert torch.equal(net(x, mask, mask_mode=mode), net(noisy, mask, mask_mode=mode))
        assert not torch.equal(net(x), net(x, mask, mask_mode="drop"))
        assert net.tokens(x, mask, mask_mode="drop").patches.shape == (2, 8, 16)
        nothing = torch.zeros(2, 16, dtype=torch.bool)
        for mode in ("drop", "token"):
            torch.testing.assert_close(net(x, nothing, mask_mode=mode), net(x))


def test_random_mask_hides_as_many_in_each_row_but_not_the_same():
    mask = random_mask(32, 49, 0.3, generator=torch.Generator().manual_seed(0))
    assert mask.sum(1).unique().tolist() == [14]
    assert len({tuple(row) for row in mask.tolist()}) > 16
    assert random_mask(2, 4, 0.0).sum() == 0
    with pytest.raises(ConfigError, match="mask ratio"):
        random_mask(2, 4, 1.0)


def test_intermediate_blocks_by_index_and_without_norm():
    net = VisionTransformer(image_size=28, dim=8, depth=3, heads=1).eval()
    x = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        first, last = net.intermediate(x, [0, 2], norm=False)
        assert torch.equal(net.norm(last.cls), net(x))
        assert not torch.equal(first.cls, last.cls)
    for wrong in (0, 4, [3], [-1]):
        with pytest.raises(ConfigError, match="blocks"):
            net.intermediate(x, wrong)


def test_mistakes_are_named():
    net = VisionTransformer(image_size=28, dim=8, depth=1, heads=1)
    x = torch.randn(2, 3, 28, 28)
    with pytest.raises(DataError, match="crop or pad to 42 x 28"):
        net(torch.randn(1, 3, 30, 28))
    with pytest.raises(ConfigError, match="image_size"):
        VisionTransformer(image_size=30)
    with pytest.raises(ConfigError, match="heads"):
        VisionTransformer(image_size=28, dim=10, heads=4)
    with pytest.raises(DataError, match="mask"):
        net(x, torch.zeros(2, 5, dtype=torch.bool))
    with pytest.raises(DataError, match="mask"):
        net(x, torch.zeros(2, 4))
    uneven = torch.tensor([[True, False, False, False], [True, True, False, False]])
    with pytest.raises(DataError, match="same number in every row"):
        net(x, uneven, mask_mode="drop")
    with pytest.raises(ConfigError, match="mask_mode"):
        net(x, uneven, mask_mode="zero")
