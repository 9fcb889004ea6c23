"""Pickles are found by content, and honest files are not taken for pickles."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import zipfile
import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import save

from core.errors import CheckpointError
from core.tracking.pickles import pickle_inside, refuse_pickle


class Thing:
    def __reduce__(self):
        return (print, ("hello",))


def packed(writer, **options) -> bytes:
    stream = io.BytesIO()
    writer(stream, **options)
    return stream.getvalue()


def in_zip(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


PICKLES = {
    **{f"protocol {number}": pickle.dumps(Thing(), protocol=number) for number in range(6)},
    "torch.save": packed(lambda stream: torch.save({"w": torch.ones(2)}, stream)),
    "torch.save, old form": packed(
        lambda stream: torch.save({"w": torch.ones(2)}, stream, _use_new_zipfile_serialization=False)
    ),
    "gzip": gzip.compress(pickle.dumps(Thing())),
    "zlib": zlib.compress(pickle.dumps(Thing())),
    "bz2": bz2.compress(pickle.dumps(Thing())),
    "xz": lzma.compress(pickle.dumps(Thing())),
    "object array": packed(lambda stream: np.save(stream, np.array([{}], dtype=object))),
    "object array in npz": packed(lambda stream: np.savez(stream, a=np.array([{}], dtype=object))),
    "pickle in a zip under another name": in_zip("weights.txt", pickle.dumps(Thing())),
    "damaged zip": b"PK\x03\x04 and nothing more",
}
HONEST = {
    "empty": b"",
    "JSON": json.dumps({"a": [1, 2]}).encode(),
    "text": b"(lambda x: x) is not a pickle. Nor is this.\n" * 50,
    "program": b"class A:\n    def f(self):\n        return (1, 2)\n",
    "csv": b"id,path\n1,a.png\n",
    "safetensors": save({"w": torch.ones(3)}),
    "array": packed(lambda stream: np.save(stream, np.ones(3))),
    "arrays": packed(lambda stream: np.savez(stream, a=np.ones(3), b=np.array(["x"]))),
    "gzipped text": gzip.compress(b"plain words"),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(20),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickle_is_found(name):
    assert pickle_inside(io.BytesIO(PICKLES[name]))


@pytest.mark.parametrize("name", HONEST)
def test_honest_file_passes(name):
    assert pickle_inside(io.BytesIO(HONEST[name])) == ""


def test_refusal_names_the_file_and_the_remedy(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(PICKLES["protocol 4"])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json holds a pickle.*Remedy"):
        refuse_pickle(path)
