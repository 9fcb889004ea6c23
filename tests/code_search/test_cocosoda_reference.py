"""The published code's numbers, step by step: losses, gradients, momentum encoders and queues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.vectors import reference, reference_names
from torch import Tensor, nn

from code_search.learn.clones import clone_loss
from code_search.learn.cocosoda import TERMS, CoCoSoDa, FineTune
from core.evaluation.retrieval import map_at_r, ranks, reciprocal, retrieval_metrics

TOLERANCE = 1e-9


class Toy(nn.Module):
    """tanh(emb[ids] @ W.T + b), masked mean: the encoder that the reference was computed with."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        super().__init__()
        weight = torch.from_numpy(vectors["init.emb.weight"])
        self.dim = weight.shape[1]
        self.emb = nn.Embedding(*weight.shape, dtype=torch.float64)
        self.lin = nn.Linear(self.dim, self.dim, dtype=torch.float64)
        self.load_state_dict(
            {
                key.removeprefix("init."): torch.from_numpy(vectors[key])
                for key in vectors
                if key.startswith(("init.emb", "init.lin"))
            }
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = torch.tanh(self.lin(self.emb(ids)))
        keep = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * keep).sum(1) / keep.sum(1)


def close(found: Tensor | float, expected: np.ndarray) -> None:
    found = found.detach().numpy() if isinstance(found, Tensor) else np.asarray(found)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def batch_of(v: dict[str, np.ndarray], step: int) -> dict[str, Tensor]:
    batch = {}
    for ours, theirs in (("code", "code_q"), ("code_key", "code_k"), ("text", "nl_q"), ("text_key", "nl_k")):
        ids = torch.from_numpy(v[f"s{step}.ids.{theirs}"])
        batch[ours], batch[f"{ours}_mask"] = ids, ids != int(v["pad_id"])
    return batch


def start(v: dict[str, np.ndarray], extra: float) -> CoCoSoDa:
    module = CoCoSoDa(
        Toy(v), queue_size=int(v["K"]), momentum=float(v["m"]), temperature=float(v["T"]),
        logit_scale_extra=extra, intra=bool(v["intra"]), learning_rate=float(v["lr"]),
    )  # fmt: skip
    names = {"code": "code", "text": "nl", "code_key": "masked_code", "text_key": "masked_nl"}
    for ours, theirs in names.items():
        queue = module.queues[ours].double()
        queue.embeddings = torch.from_numpy(v[f"init.queue.{theirs}"].T.copy())
        queue.valid = torch.ones(int(v["K"]), dtype=torch.bool)  # the reference starts with random columns
    return module


@pytest.mark.parametrize("name", reference_names("cocosoda_moco_"))
@pytest.mark.parametrize("variant", ["plain", "scale20"])
def test_steps(name: str, variant: str) -> None:
    v = reference(name)
    module = start(v, 1.0 if variant == "plain" else float(v["outer_scale"]))
    optimizer = torch.optim.SGD(module.encoder.parameters(), lr=float(v["lr"]))
    for step in range(int(v["steps"])):
        if variant == "plain" and step:  # later steps follow the scaled run: take its state from the file
            break
        found = module.terms(batch_of(v, step))
        close(found["loss"], v[f"s{step}.loss_{variant}"])
        close(
            torch.stack([found[term] for term in TERMS if term in found]), v[f"s{step}.loss_terms_{variant}"]
        )
        optimizer.zero_grad()
        found["loss"].backward()
        if variant == "scale20":
            for key, parameter in module.encoder.named_parameters():
                close(parameter.grad, v[f"s{step}.grad.{key}"])
            optimizer.step()
            close(module.encoder.lin.weight, v[f"s{step}.after.q.lin.weight"])
        close(module.code_momentum.encoder.lin.weight, v[f"s{step}.after.code_k.lin.weight"])
        close(module.text_momentum.encoder.emb.weight, v[f"s{step}.after.nl_k.emb.weight"])
        for ours, theirs in (
            ("code", "code"),
            ("text", "nl"),
            ("code_key", "masked_code"),
            ("text_key", "masked_nl"),
        ):
            close(module.queues[ours].embeddings.T, v[f"s{step}.after.queue.{theirs}"])
            assert int(module.queues[ours].pointer) == int(v[f"s{step}.after.ptr.{theirs}"])


def test_fine_tuning() -> None:
    v = reference("cocosoda_finetune")
    module = FineTune(Toy(v), scale=float(v["scale"]))
    code, text = torch.from_numpy(v["ids_code"]), torch.from_numpy(v["ids_nl"])
    pad = int(v["pad_id"])
    loss = module.terms({"code": code, "code_mask": code != pad, "text": text, "text_mask": text != pad})[
        "loss"
    ]
    loss.backward()
    close(loss, v["loss"])
    close(module.encoder.lin.weight.grad, v["grad_lin"])
    assert module.watched is not None
    close(module.watched[0], v["z_code"])
    close(module.watched[1], v["z_nl"])


def test_evaluation() -> None:
    v = reference("cocosoda_eval")
    place = {url: index for index, url in enumerate(v["code_urls"].tolist())}
    relevant = [place.get(url, -1) for url in v["query_urls"].tolist()]
    rank = ranks(v["nl"] @ v["code"].T, relevant)
    cutoff = int(v["cutoff"])
    close(reciprocal(rank, cutoff), v["reciprocal_ranks"])
    found = retrieval_metrics(rank, mrr_cutoff=cutoff)
    close(found["mrr"], v["mrr"])
    assert round(found["mrr"], 3) == float(v["mrr_rounded"])
    for k in (1, 5, 10):
        assert round(found[f"r@{k}"], 3) == pytest.approx(float(v[f"r{k}"]))


def test_clones() -> None:
    v = reference("cocosoda_poj104")
    vectors = v["vecs"] / np.linalg.norm(v["vecs"], axis=1, keepdims=True)
    precision = map_at_r(vectors, v["labels"])
    close(precision, v["ap"])
    close(float(precision.mean()), v["map"])
    toy, pad = Toy(v), int(v["pad_id"])
    z = {}
    for side in "apn":
        ids = torch.from_numpy(v[f"ids_{side}"])
        z[side] = nn.functional.normalize(toy(ids, ids != pad), dim=-1)
    loss = clone_loss(z["a"], z["p"], z["n"], torch.from_numpy(v["triplet_labels"]), scale=float(v["scale"]))
    loss.backward()
    close(z["a"], v["z_anchor"])
    close(loss, v["loss"])
    close(toy.lin.weight.grad, v["grad_lin"])
