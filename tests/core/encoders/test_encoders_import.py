"""`import core.encoders` must cost nothing, and every name it offers must be there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import core.encoders

HEAVY = "{'monai', 'torchaudio', 'transformers', 'torchvision'}"
MODULES = ("image", "vit", "signal", "audio", "mel", "heads", "unet", "weights")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "unwanted", "then"),
    [
        ("import core.encoders", f"{HEAVY} | {{'torch'}}", "pass"),
        (f"import {', '.join(f'core.encoders.{name}' for name in MODULES)}", HEAVY, "pass"),
        (
            "from core.encoders.monai_nets import UNNEEDED, monai_net; monai_net('resnet', 'ResNet')",
            "set(UNNEEDED)",
            "import torchvision, mlflow",
        ),
    ],
    ids=["the package", "its modules", "a MONAI network"],
)
def test_an_import_loads_no_heavy_package(work, unwanted, then):
    code = f"import sys; {work}; loaded = ({unwanted}) & set(sys.modules); {then}; sys.exit(str(loaded or '') or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", core.encoders.__all__)
def test_every_public_name_exists_and_is_documented(name):
    assert getattr(core.encoders, name).__doc__
    assert name in dir(core.encoders)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ResNet1999'"):
        core.encoders.ResNet1999  # noqa: B018
