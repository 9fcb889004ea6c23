"""Image encoders: feature maps, torchvision's weights, and named sizes."""

from __future__ import annotations

import pytest
import torch

from core.encoders.image import DenseNetEncoder, ResNetEncoder, ViTEncoder, image_encoder
from core.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "block", "bottleneck"), [("resnet18", (1, 1, 1, 1), False), ("resnet50", (1, 2, 1, 1), True)]
)
def test_equals_torchvision_with_its_weights(name, block, bottleneck, tmp_path):
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    torch.manual_seed(0)
    theirs = ResNet(Bottleneck if bottleneck else BasicBlock, list(block), num_classes=2).eval()
    ours = image_encoder(name, blocks=block).eval()
    torch.save(theirs.state_dict(), tmp_path / "torchvision.pth")
    report = ours.load_weights(tmp_path / "torchvision.pth")
    assert report.unexpected == ("fc.weight", "fc.bias")
    assert not report.missing
    assert not report.mismatched
    theirs.fc = torch.nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "shape"),
    [
        (lambda: ResNetEncoder(channels=1, blocks=(1, 1, 1, 1), widths=(2, 2, 2, 4)), (64, 96)),
        (lambda: ResNetEncoder(channels=1, small=True, blocks=(1, 1, 1, 1), widths=(2, 2, 2, 4)), (16, 32)),
        (
            lambda: ResNetEncoder(channels=1, dimensions=3, blocks=(1, 1, 1, 1), widths=(2, 2, 2, 4)),
            (32, 64, 32),
        ),
        (lambda: DenseNetEncoder(channels=1, blocks=(1, 1, 1), growth=2, first=4), (32, 64)),
        (lambda: ViTEncoder(channels=1, image_size=(16, 32), patch=8, dim=8, depth=1, heads=1), (16, 32)),
    ],
)
def test_the_feature_map_has_one_cell_per_stride_and_its_mean_is_the_embedding(encoder, shape):
    net = encoder().eval()
    x = torch.randn(2, 1, *shape)
    with torch.no_grad():
        features = net.features(x)
        assert features.shape == (2, net.dim, *[side // net.stride for side in shape])
        torch.testing.assert_close(net(x), features.flatten(2).mean(2))


def test_a_patch_of_the_image_moves_its_own_cell_of_a_vit_map_most():
    torch.manual_seed(0)
    net = ViTEncoder(channels=1, image_size=(16, 24), patch=8, dim=16, depth=1, heads=1).eval()
    x = torch.zeros(1, 1, 16, 24)
    bright = x.clone()
    bright[..., 8:16, 16:24] = 3.0
    with torch.no_grad():
        change = (net.features(bright) - net.features(x)).norm(dim=1)[0]
    assert int(change.argmax()) == 1 * 3 + 2


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "densenet121", "vit_small", "vit_base"])
def test_named_sizes_have_the_published_number_of_parameters(name):
    # without the 1000-class layer; the ViTs also without CLS token and its position
    published = {
        "resnet18": 11_689_512 - 513_000,
        "resnet34": 21_797_672 - 513_000,
        "resnet50": 25_557_032 - 2_049_000,
        "densenet121": 7_978_856 - 1_025_000,
        "vit_small": 22_050_664 - 385_000 - 2 * 384,
        "vit_base": 86_567_656 - 769_000 - 2 * 768,
    }
    with torch.device("meta"):
        net = image_encoder(name)
    assert sum(p.numel() for p in net.parameters()) == published[name]


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="resnet18"):
        image_encoder("resnet19")
    with pytest.raises(ConfigError, match="dimensions"):
        ResNetEncoder(dimensions=1)
    with pytest.raises(ConfigError, match="four blocks"):
        ResNetEncoder(blocks=(1, 1))
    with pytest.raises(ConfigError, match="image_size"):
        ViTEncoder(image_size=20, patch=16)
    net = ViTEncoder(channels=1, image_size=16, patch=8, dim=8, depth=1, heads=1)
    with pytest.raises(ConfigError, match="resize or crop"):
        net(torch.zeros(1, 1, 16, 24))
