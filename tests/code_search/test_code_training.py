"""Training: CoCoSoDa's rules, resuming bit for bit, learning on a small corpus, the folder of an encoder."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from small_pairs import made_up_functions

from code_search.learn.batches import PairBatches
from code_search.learn.cocosoda import TERMS, CoCoSoDa, encode
from code_search.learn.pairs import PairArrays, prepare_pairs
from code_search.learn.train import adapt, pretrain, retrieval_validation
from code_search.model import CodeEncoder, build_encoder, build_tokenizer, load_encoder
from code_search.ranker import Ranker
from code_search.tokenize import CodeTokenizer
from core.errors import CheckpointError, ConfigError

LENGTHS = {"code_length": 64, "text_length": 16}
SETTINGS: dict[str, Any] = {
    "batch_size": 32, "queue_size": 64, "momentum": 0.9, "learning_rate": 0.01, "validation_queries": 60,
    "progress": False, "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def functions():
    return made_up_functions(240, "train")


@pytest.fixture(scope="module")
def held_out():
    return made_up_functions(60, "valid")


@pytest.fixture(scope="module")
def tokenizer(functions) -> CodeTokenizer:
    types = ["identifier", "keyword", "separators", "operator", "integer"]
    return build_tokenizer("static", (f.code + f.documentation for f in functions), types, vocabulary=500)


@pytest.fixture(scope="module")
def pairs(functions, tokenizer) -> PairArrays:
    return prepare_pairs(functions, tokenizer, **LENGTHS)


def fresh(kind: str, tokenizer: CodeTokenizer, pairs: PairArrays) -> CodeEncoder:
    torch.manual_seed(0)
    module = build_encoder(kind, tokenizer, pairs, dim=32, layers=1, heads=2, vectors="random", max_length=64)
    return CodeEncoder(module, tokenizer, **LENGTHS)


def test_terms_by_setting(tokenizer, pairs) -> None:
    batch = PairBatches(pairs, tokenizer, 16)(0)
    names = {"loss", *TERMS}
    for options, expected in (
        ({}, names),
        ({"intra": False}, {name for name in names if not name.startswith("intra")}),
        ({"intra": False, "keys": False}, {"loss", "inter_code_text", "inter_text_code"}),
        ({"queue_size": 0}, names),
    ):
        module = CoCoSoDa(fresh("static", tokenizer, pairs).module, **({"queue_size": 32} | options))
        found = module.terms(batch)
        assert set(found) == expected
        rest = [value for name, value in found.items() if name != "loss"]
        torch.testing.assert_close(found["loss"], torch.stack(rest).mean())
        module.terms(batch)
        for queue in module.queues.values():
            assert bool(queue.valid.all())
    with pytest.raises(ConfigError, match="intra"):
        CoCoSoDa(fresh("static", tokenizer, pairs).module, keys=False)
    with pytest.raises(ConfigError, match="temperature"):
        CoCoSoDa(fresh("static", tokenizer, pairs).module, temperature=0.0)


def test_duplicates_are_no_negatives(tokenizer, pairs) -> None:
    batch = PairBatches(pairs, tokenizer, 16, augment=False)(0)
    apart = {**batch, "groups": torch.arange(16)}
    twins = {**batch, "groups": torch.zeros(16, dtype=torch.int64)}
    module = fresh("static", tokenizer, pairs).module.eval()
    assert CoCoSoDa(module, queue_size=0).terms(apart)["loss"].item() > 0.1
    assert CoCoSoDa(module, queue_size=0).terms(twins)["loss"].item() == pytest.approx(0.0, abs=1e-6)
    queued = CoCoSoDa(module, queue_size=32)
    queued.terms(twins)
    assert queued.terms(twins)["loss"].item() == pytest.approx(0.0, abs=1e-6)


def test_momentum_moves_before_the_keys(tokenizer, pairs) -> None:
    module = CoCoSoDa(fresh("static", tokenizer, pairs).module, queue_size=16, momentum=0.0)
    with torch.no_grad():
        for parameter in module.encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    module.eval()
    batch = PairBatches(pairs, tokenizer, 16, augment=False)(0)
    module.terms(batch)
    expected = encode(module.encoder, batch["code"], batch["code_mask"])
    torch.testing.assert_close(module.queues["code_key"].embeddings, expected)
    torch.testing.assert_close(module.queues["code"].embeddings, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_learns_and_is_saved_and_loaded(kind: str, tokenizer, pairs, held_out, tmp_path) -> None:
    encoder = fresh(kind, tokenizer, pairs)
    validate = retrieval_validation(encoder, held_out, 60)
    before = validate(None, 0)
    steps = 40 if kind == "static" else 60
    result = pretrain(encoder, pairs, held_out, steps=steps, **SETTINGS)
    after = validate(None, 0)
    assert after["valid_mrr"] > before["valid_mrr"] + 0.1
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert after["valid_mrr"] == pytest.approx(result.history[-1]["valid_mrr"])
    tuned = adapt(
        encoder,
        pairs,
        held_out,
        steps=10,
        batch_size=32,
        learning_rate=1e-3,
        validation_queries=60,
        progress=False,
        threads=1,
    )
    assert tuned.best_value is not None
    encoder.ranker = Ranker({"bm25": 0.5}, {"dense": 9.0, "bm25": 0.25})
    digest = encoder.save(tmp_path / "model")
    again = load_encoder(tmp_path / "model")
    assert (again.digest, again.ranker, again.dim) == (digest, encoder.ranker, 32)
    queries = ["Read the file", "Sort the matrix", ""]
    assert np.array_equal(encoder.encode_queries(queries), again.encode_queries(queries))
    assert np.array_equal(
        encoder.encode_functions(held_out), again.encode_functions([f.code for f in held_out])
    )
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_vectors_do_not_depend_on_the_batch(tokenizer, pairs, held_out) -> None:
    for kind in ("static", "transformer"):
        encoder = fresh(kind, tokenizer, pairs)
        whole = encoder.encode_functions(held_out)
        single = np.concatenate([encoder.encode_functions([f]) for f in held_out])
        np.testing.assert_allclose(whole, single, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
    assert encoder.encode_queries([]).shape == (0, 32)


def test_chunks_of_like_length_give_the_same_vectors(tokenizer, pairs) -> None:
    encoder = fresh("transformer", tokenizer, pairs).module.eval()
    batch = PairBatches(pairs, tokenizer, 30, hide_name=0.5)(0)
    whole = encode(encoder, batch["code"], batch["code_mask"])
    torch.testing.assert_close(
        whole, encode(encoder, batch["code"], batch["code_mask"], chunks=4), atol=1e-5, rtol=1e-4
    )


def test_a_stopped_training_goes_on_bit_for_bit(tokenizer, pairs, held_out, tmp_path) -> None:
    class Stop(RuntimeError):
        pass

    def stop_late(record: dict[str, float]) -> None:
        if record["step"] >= 9:
            raise Stop

    straight, resumed = fresh("static", tokenizer, pairs), fresh("static", tokenizer, pairs)
    common = SETTINGS | {"steps": 14, "hide_name": 0.5, "log_every": 1}
    pretrain(straight, pairs, held_out, **common)
    keeping = {"checkpoint_dir": tmp_path, "every_n_steps": 4}
    with pytest.raises(Stop):
        pretrain(resumed, pairs, held_out, logger=stop_late, **common, **keeping)
    resumed = fresh("static", tokenizer, pairs)
    result = pretrain(resumed, pairs, held_out, **common, **keeping)
    assert result.resumed_from_step == 8
    for (name, value), other in zip(
        straight.module.state_dict().items(), resumed.module.state_dict().values()
    ):
        assert torch.equal(value, other), name


@pytest.fixture
def saved(tokenizer, pairs, tmp_path):
    fresh("static", tokenizer, pairs).save(tmp_path / "model")
    return tmp_path / "model"


def test_damaged_weights_are_refused(saved) -> None:
    weights = saved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_encoder(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"encoder": {"kind": "static", "settings": {}}},
        {"weights_sha256": None},
        {"markers": {}},
    ],
)
def test_configuration_that_does_not_fit_is_refused(saved, change: dict[str, Any]) -> None:
    file = saved / "config.json"
    config = json.loads(file.read_text()) | change
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        load_encoder(saved)


def test_any_local_transformers_folder(functions, held_out, tmp_path, tokenizer, pairs) -> None:
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    from core.encoders import TransformerText
    from core.files import write_json

    words = sorted({word for f in functions for word in f.documentation.lower().replace(".", "").split()})
    vocabulary = {
        token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, "f"])
    }
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    backend.save(str(tmp_path / "tokenizer.json"))
    torch.manual_seed(0)
    bare = TransformerText.from_config(vocabulary=len(vocabulary), width=16, layers=1, heads=2, max_length=64)
    write_json(tmp_path / "config.json", bare.settings)
    save_file(bare.model.state_dict(), tmp_path / "model.safetensors")
    folder = str(tmp_path)
    ours = build_tokenizer(folder, [], ["identifier", "keyword"])
    data = prepare_pairs(functions, ours, **LENGTHS)
    encoder = CodeEncoder(build_encoder(folder, ours, data, max_length=64, dropout=0.0), ours, **LENGTHS)
    pretrain(encoder, data, held_out, steps=3, chunks=2, **SETTINGS)
    encoder.save(tmp_path / "out")
    again = load_encoder(tmp_path / "out")
    np.testing.assert_allclose(
        encoder.encode_functions(held_out), again.encode_functions(held_out), atol=1e-6
    )
    with pytest.raises(ConfigError, match="code_length"):
        build_encoder(folder, ours, data, max_length=65)
