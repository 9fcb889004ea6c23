"""`import core.encoders` must cost nothing, and every name it offers must be there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import core.encoders


def test_import_loads_no_heavy_package():
    code = (
        "import sys, core.encoders;"
        "heavy = {'torch', 'monai', 'torchaudio', 'transformers', 'torchvision'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_encoder_modules_need_torch_only():
    code = (
        "import sys, core.encoders.image, core.encoders.vit, core.encoders.signal, core.encoders.audio,"
        "core.encoders.mel, core.encoders.heads, core.encoders.unet, core.encoders.weights;"
        "heavy = {'monai', 'torchaudio', 'transformers', 'torchvision'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_monai_network_comes_without_what_it_does_not_need():
    code = (
        "import sys; from core.encoders.monai_nets import UNNEEDED, monai_net; monai_net('resnet', 'ResNet');"
        "loaded = set(UNNEEDED) & set(sys.modules);"
        "import torchvision, mlflow;"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", core.encoders.__all__)
def test_every_public_name_exists_and_is_documented(name):
    assert getattr(core.encoders, name).__doc__
    assert name in dir(core.encoders)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ResNet1999'"):
        core.encoders.ResNet1999  # noqa: B018
