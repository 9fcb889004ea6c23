"""Every objective over two gloo ranks of uneven size: loss and gradients equal those of one process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from two_ranks import Case, assert_ranks_agree

import core.objectives as objectives
from core.distributed import across_ranks, needs
from core.objectives import IndividualTemperatures
from core.objectives.mochi import Mixing
from core.objectives.supremix import Mixtures

ROWS, WIDTH = 8, 6
GENERATOR = torch.Generator().manual_seed(5)


def _floats(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def _whole_numbers(*shape: int, below: int = 1000) -> Tensor:
    return torch.randint(below, shape, generator=GENERATOR)


X, Y, Z = (_floats(ROWS, WIDTH) for _ in range(3))
GROUPS = torch.tensor([0, 0, 1, 2, 3, 3, 4, 5])
QUEUE = _floats(5, WIDTH)


def _constant(x: Tensor) -> Tensor:
    """Whole numbers travel unencoded, so what must carry no gradient is sent as such and scaled here."""
    return x.double() / 500 - 1


@dataclass(frozen=True)
class Spec:
    """How to call one objective: `arrange` makes (positional arguments, arguments by name) of the inputs."""

    name: str
    inputs: dict[str, Tensor]
    arrange: Callable[[dict[str, Tensor]], tuple[list[Any], dict[str, Any]]]
    options: dict[str, Any] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    suffix: str = ""


PAIR = {"x": X, "y": Y}
GROUPED = {**PAIR, "groups": GROUPS}
MAPS = {"q": _floats(ROWS, 4, 2, 3), "k": _whole_numbers(ROWS, 4, 2, 3)}


def _pair(i: dict[str, Tensor]) -> tuple[list[Any], dict[str, Any]]:
    return [i["x"], i["y"]], {}


def _grouped(i: dict[str, Tensor]) -> tuple[list[Any], dict[str, Any]]:
    return [i["x"], i["y"]], {"groups": i["groups"]}


def _listed(i: dict[str, Tensor]) -> tuple[list[Any], dict[str, Any]]:
    return [[i["x"], i["y"], i["z"]]], {"groups": i["groups"]}


def _maps(i: dict[str, Tensor]) -> list[Tensor]:
    return [i["q"], _constant(i["k"])]


SPECS = [
    Spec("alignment", PAIR, _pair),
    Spec("uniformity", {"x": X, "groups": GROUPS}, lambda i: ([i["x"]], {"groups": i["groups"]})),
    Spec("cross_uniformity", GROUPED, _grouped),
    Spec("contrastive_gap", GROUPED, _grouped),
    Spec("cacr", {**GROUPED, "z": Z}, _listed),
    Spec("mv_infonce", {**GROUPED, "z": Z}, _listed),
    Spec("mv_dhel", {**GROUPED, "z": Z}, _listed),
    Spec(
        "symile",
        {**GROUPED, "z": Z, "there": _whole_numbers(ROWS, 3, below=4)},
        lambda i: ([[i["x"], i["y"], i["z"]]], {"groups": i["groups"], "present": i["there"] > 0}),
        {
            "permutations": torch.stack([torch.randperm(ROWS, generator=GENERATOR) for _ in range(6)]).view(
                3, 2, ROWS
            )
        },
    ),
    Spec("gram", {**GROUPED, "z": Z}, lambda i: ([i["x"], [i["y"], i["z"]]], {"groups": i["groups"]})),
    Spec("swav", {**PAIR, "z": Z}, lambda i: ([[i["x"], i["y"]], [i["z"]]], {})),
    Spec("vicreg", PAIR, _pair),
    Spec("barlow_twins", PAIR, _pair),
    Spec(
        "mochi",
        {"x": X, "k": _whole_numbers(ROWS, WIDTH), "queue": QUEUE, "place": _whole_numbers(ROWS, 3, below=4)},
        lambda i: (
            [i["x"], _constant(i["k"])],
            {
                "mixing": Mixing(
                    i["place"],
                    (i["place"] + 1) % 4,
                    (i["place"] + 1) / 6,
                    (i["place"] + 2) % 4,
                    i["place"] / 8,
                ),
                "queue": i["queue"],
            },
        ),
        {"hard": 4},
        whole=("queue",),
    ),
    Spec(
        "feature_transform",
        {"x": X, "k": _whole_numbers(ROWS, WIDTH), "queue": QUEUE},
        lambda i: ([i["x"], _constant(i["k"])], {"queue": i["queue"]}),
        {
            "positive_share": torch.tensor(1.3),
            "negative_share": torch.tensor(0.4),
            "order": torch.arange(5).roll(1),
        },
        whole=("queue",),
    ),
    Spec(
        "conr",
        {
            "x": X,
            "labels": _whole_numbers(ROWS, below=4),
            "guess": _whole_numbers(ROWS, below=4),
            "groups": GROUPS,
        },
        lambda i: ([i["x"], i["labels"], i["guess"]], {"groups": i["groups"]}),
    ),
    Spec(
        "supremix",
        {"x": X, "labels": _whole_numbers(ROWS, below=4)},
        lambda i: ([i["x"], i["labels"]], {}),
        {
            "mixtures": Mixtures(
                _whole_numbers(ROWS, 2, below=ROWS),
                torch.full((ROWS, 2), 0.3),
                _whole_numbers(ROWS, 2, below=ROWS),
                _whole_numbers(ROWS, 2, below=ROWS),
            )
        },
    ),
    Spec(
        "pixpro",
        {**MAPS, "boxes": torch.tensor([0, 0, 3, 2]).repeat(ROWS, 1) + torch.arange(ROWS)[:, None] % 2},
        lambda i: ([*_maps(i), i["boxes"], i["boxes"] + 1], {}),
    ),
    Spec(
        "dense_local",
        {**MAPS, "groups": GROUPS},
        lambda i: ([*_maps(i), i["q"].detach(), _constant(i["k"])], {"groups": i["groups"]}),
    ),
    Spec(
        "degla",
        {**GROUPED, "hard": _floats(ROWS, 2, WIDTH), "teacher": _whole_numbers(ROWS, 4, WIDTH)},
        lambda i: (
            [i["x"], i["y"], i["hard"]],
            {
                "groups": i["groups"],
                "teacher_image": _constant(i["teacher"][:, 0]),
                "teacher_text": _constant(i["teacher"][:, 1]),
                "teacher_negatives": _constant(i["teacher"][:, 2:]),
            },
        ),
    ),
    Spec(
        "global_local",
        {
            "x": X,
            "parts": _floats(ROWS, 3, WIDTH),
            "mask": _whole_numbers(ROWS, 3, below=3),
            "groups": GROUPS,
        },
        lambda i: ([i["x"], i["parts"]], {"mask": i["mask"] > 0, "groups": i["groups"]}),
    ),
    Spec(
        "tcl",
        {
            **GROUPED,
            "keys": _whole_numbers(ROWS, 6, WIDTH),
            "mask": _whole_numbers(ROWS, 2, below=3),
            "queue": QUEUE,
        },
        lambda i: (
            [
                i["x"],
                i["y"],
                *(_constant(i["keys"][:, k]) for k in range(2)),
                *(_constant(i["keys"][:, k : k + 2]) for k in (2, 4)),
            ],
            {
                "groups": i["groups"],
                "text_mask": i["mask"] > 0,
                "image_queue": i["queue"],
                "text_queue": i["queue"].flip(0),
            },
        ),
        whole=("queue",),
    ),
    Spec(
        "m3col",
        {**GROUPED, "percent": _whole_numbers(ROWS, below=101), "order": torch.arange(ROWS).roll(3)},
        lambda i: ([i["x"], i["y"], i["percent"] / 100, i["order"]], {"groups": i["groups"]}),
    ),
    Spec("soft_clip", GROUPED, _grouped),
    Spec(
        "distilled_clip",
        {**GROUPED, "teacher": _whole_numbers(ROWS, 2, WIDTH)},
        lambda i: (
            [i["x"], i["y"], _constant(i["teacher"][:, 0]), _constant(i["teacher"][:, 1])],
            {"groups": i["groups"]},
        ),
    ),
    Spec(
        "coca",
        {**GROUPED, "logits": _floats(ROWS, 3, 5), "words": _whole_numbers(ROWS, 3, below=5)},
        lambda i: ([i["x"], i["y"], i["logits"], i["words"]], {"groups": i["groups"]}),
    ),
    Spec("dcd", {"x": X, "k": _whole_numbers(ROWS, WIDTH)}, lambda i: ([i["x"], _constant(i["k"])], {})),
    Spec("groco", {**GROUPED, "z": Z}, _listed, {"hardest": 3}),
    Spec(
        "sepclr",
        {**GROUPED, "z": Z, "w": _floats(ROWS, WIDTH), "ill": _whole_numbers(ROWS, below=2)},
        lambda i: ([[i["x"], i["y"]], [i["z"], i["w"]], i["ill"] > 0], {"groups": i["groups"]}),
    ),
    Spec("joint_entropy", PAIR, _pair),
    Spec(
        "label_alignment",
        {"x": X, "labels": _whole_numbers(ROWS, below=3)},
        lambda i: ([i["x"], i["labels"]], {}),
    ),
    Spec(
        "IndividualTemperatures",
        {**GROUPED, "index": torch.tensor([5, 2, 9, 0, 7, 1, 3, 8])},
        lambda i: ([i["index"], i["x"], i["y"]], {"groups": i["groups"]}),
    ),
    Spec(
        "IndividualTemperatures",
        {**GROUPED, "index": torch.tensor([5, 2, 9, 0, 7, 1, 3, 8])},
        lambda i: ([i["index"], i["x"], i["y"]], {"groups": i["groups"]}),
        suffix="_bimodal",
    ),
]


def _objective(spec: Spec) -> Callable[..., Any]:
    if spec.name == "IndividualTemperatures":
        return IndividualTemperatures(10, bimodal=bool(spec.suffix)).double()
    return getattr(objectives, spec.name)


def _scalar(result: Any) -> Tensor:
    return result if isinstance(result, Tensor) else result.total


def _make(spec: Spec) -> Case:
    """Puts both functions of a case at the top level of this file, where the ranks look for them."""

    def alone(**inputs: Tensor) -> Tensor:
        positional, named = spec.arrange(inputs)
        return _scalar(_objective(spec)(*positional, **named, **spec.options))

    def together(**inputs: Tensor) -> Tensor:
        positional, named = spec.arrange(inputs)
        shared = {name: named.pop(name) for name in list(named) if "queue" in name}
        return _scalar(across_ranks(_objective(spec), *positional, rows=named, **shared, **spec.options))

    together.__name__ = f"{spec.name}{spec.suffix}_over_ranks"
    setattr(sys.modules[__name__], together.__name__, together)
    return Case(alone, together, spec.inputs, whole=spec.whole, name=spec.name + spec.suffix)


CASES = [_make(spec) for spec in SPECS]


@pytest.mark.slow
def test_two_ranks_equal_one_process() -> None:
    assert_ranks_agree(CASES, split=[(5, 3), (8, 0)])


def test_each_is_covered() -> None:
    """Whatever compares rows, and is exported here, stands in the table above."""
    mine = {spec.name for spec in SPECS}
    elsewhere = {
        "contrast",
        "nt_xent",
        "clip",
        "siglip",
        "supcon",
        "dcl",
        "cwcl",
        "soft_contrast",
        "pairwise",
    }
    no_losses = {"gram_volume", "sinkhorn", "symile_similarity", "PixelPropagation"}
    exported = {
        name for name, member in vars(objectives).items() if callable(member) and not name.startswith("_")
    }
    functions = {name for name in exported if name[0].islower()}
    assert functions - mine - elsewhere - no_losses == set()


@pytest.mark.parametrize("name", sorted({spec.name for spec in SPECS}))
def test_declares_what_it_needs(name: str) -> None:
    assert needs(getattr(objectives, name)) in {"gather", "statistic", "none"}
