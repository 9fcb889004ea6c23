"""A small repository in six languages, an encoder without training, an index folder for each test."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest

from code_search.lexical import words
from code_search.ranker import Ranker

FILES = {
    "src/io/files.py": '''"""Reading and writing."""


def read_csv_file(path, delimiter=","):
    """Parse a comma separated table into rows."""
    with open(path) as stream:
        return [line.split(delimiter) for line in stream]


class Writer:
    def write_json(self, value, target):
        """Serialise a value and store it on disk."""
        target.write_text(dumps(value))
''',
    "src/net/Client.java": """class Client {
    /** Open a socket to the remote host. */
    Socket connectToHost(String host, int port) {
        return new Socket(host, port);
    }
}
""",
    "web/debounce.js": """// Delay a callback until calls stop arriving.
export const debounce = (callback, milliseconds) => {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(callback, milliseconds); };
};
""",
    "cmd/main.go": """package main

// ReverseString returns the runes of s in the opposite order.
func ReverseString(s string) string {
	runes := []rune(s)
	for i, j := 0, len(runes)-1; i < j; i, j = i+1, j-1 {
		runes[i], runes[j] = runes[j], runes[i]
	}
	return string(runes)
}
""",
    "lib/mail.php": """<?php
/** Send a message to a recipient by electronic mail. */
function sendMessage($recipient, $body) {
    return mail($recipient, 'hello', $body);
}
""",
    "lib/sorter.rb": """# Order numbers by swapping neighbours.
def bubble_sort(numbers)
  numbers.sort
end
""",
    "docs/a folder/größe der welt.py": '''def planet_radius(name):
    """Radius of a planet in kilometres."""
    return RADII[name]
''',
}


class HashingEncoder:
    """Bag of hashed stems, unit length: deterministic, needs no training, close texts get close vectors."""

    dim = 128

    def __init__(self, name: str = "hashing", ranker: Ranker | None = None) -> None:
        self.digest = hashlib.sha256(name.encode()).hexdigest()
        self.encoded = 0
        if ranker is not None:
            self.ranker = ranker

    def _encode(self, texts):
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in words(text):
                code = int.from_bytes(
                    hashlib.blake2b((self.digest + word).encode(), digest_size=4).digest(), "big"
                )
                vectors[row, code % self.dim] += 1 if code >> 31 else -1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def encode_queries(self, queries):
        return self._encode(queries)

    def encode_functions(self, functions):
        self.encoded += len(functions)
        return self._encode(functions)


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return root


def git(root: Path, *arguments: str) -> None:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test sees the index of another, nor a registry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KINDRED_ROOT", str(tmp_path / "nowhere"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def encoder():
    return HashingEncoder()


@pytest.fixture
def make_encoder():
    return HashingEncoder


@pytest.fixture
def repository(tmp_path):
    """A plain folder with functions in six languages."""
    return write_files(tmp_path / "my repo", FILES)


@pytest.fixture
def run_git():
    return git


@pytest.fixture
def add_files():
    return write_files
