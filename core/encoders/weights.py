"""Local weights into an encoder: prefixes, channels and positions adapted, and a report of every key."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from core.encoders.channels import InputInit, adapt_input
from core.encoders.weight_files import read_state
from core.errors import CheckpointError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class WeightReport:
    """What loading a weight file did, key by key. ``str(report)`` is the summary to print or log.

    Attributes:
        source: where the weights came from.
        matched: keys that were loaded.
        missing: keys of the module that the file does not hold; they keep their initial values.
        unexpected: keys of the file that the module does not have.
        mismatched: (key, shape in the file, shape in the module) of keys left unloaded because shapes differ.
        adapted: one note for each weight that was rewritten to fit (channels, position grid).

    >>> report = WeightReport("a.safetensors", ("w",), ("b",), (), (("v", (3,), (4,)),), ())
    >>> print(report)
    a.safetensors: 1 matched, 1 missing, 0 unexpected, 1 with another shape
      missing: b
      another shape: v (file 3, module 4)
    >>> report.complete
    False
    """

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]
    adapted: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Every key of the file went into the module and every key of the module was filled."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = [
            f"{self.source}: {len(self.matched)} matched, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.mismatched)} with another shape"
        ]
        lines += [f"  adapted: {note}" for note in self.adapted]
        shapes = [
            f"{key} (file {'x'.join(map(str, found))}, module {'x'.join(map(str, wanted))})"
            for key, found, wanted in self.mismatched
        ]
        for title, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("another shape", shapes),
        ):
            if names:
                rest = f" and {len(names) - 8} more" if len(names) > 8 else ""
                lines.append(f"  {title}: {', '.join(names[:8])}{rest}")
        return "\n".join(lines)


def strip_prefixes(state: Mapping[str, torch.Tensor], prefixes: Sequence[str]) -> dict[str, torch.Tensor]:
    """Remove the given leading parts, which DDP and training wrappers put there, from the keys.

    Raises:
        CheckpointError: two keys would become the same one.

    >>> state = {"module.encoder.w": torch.zeros(1), "head.w": torch.zeros(1)}
    >>> list(strip_prefixes(state, ["module.", "encoder."]))
    ['w', 'head.w']
    """
    stripped: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        short, previous = name, ""
        while short != previous:
            previous = short
            for prefix in prefixes:
                short = short.removeprefix(prefix)
        if short in stripped:
            raise CheckpointError(
                f"strip={list(prefixes)}", seen=f"two weights named {short}", remedy="strip fewer prefixes"
            )
        stripped[short] = value
    return stripped


def load_state(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    source: str = "state dict",
    adapted: Sequence[str] = (),
    strict: bool = False,
) -> WeightReport:
    """Copy every weight whose name and shape fit into ``module`` and report the rest.

    Args:
        strict: refuse anything but a complete match; the module is then left as it was.

    Raises:
        CheckpointError: nothing matched, a weight holds NaN or infinity, or ``strict`` and the match is
            incomplete.

    >>> layer = nn.Linear(2, 1)
    >>> print(load_state(layer, {"weight": torch.ones(1, 2), "scale": torch.ones(1)}, source="x.pt"))
    x.pt: 1 matched, 1 missing, 1 unexpected, 0 with another shape
      missing: bias
      unexpected: scale
    """
    own = module.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    mismatched = [
        (name, tuple(state[name].shape), tuple(own[name].shape))
        for name in own
        if name in state and name not in fitting
    ]
    report = WeightReport(
        source=source,
        matched=tuple(name for name in own if name in fitting),
        missing=tuple(name for name in own if name not in state),
        unexpected=tuple(name for name in state if name not in own),
        mismatched=tuple(mismatched),
        adapted=tuple(adapted),
    )
    broken = [name for name, value in fitting.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise CheckpointError(f"weights of {source} hold NaN or infinity", seen=broken[:8])
    if not fitting or (strict and not report.complete):
        raise CheckpointError(
            f"weights do not fit {type(module).__name__}\n{report}", remedy=_suggest(report)
        )
    module.load_state_dict(fitting, strict=False)
    return report


def _suggest(report: WeightReport) -> str:
    for wanted in report.missing:
        for name in report.unexpected:
            if name.endswith(f".{wanted}"):
                return f"pass strip=[{name.removesuffix(wanted)!r}]"
    return "check that the file belongs to this architecture and size"


class LocalWeights:
    """Mixin that gives an encoder one way to load weights from disk.

    A subclass names its first layer's weight in ``input_key``, and in ``inner`` the child that holds the
    network proper, if there is one: keys are those of that child, as public checkpoints of the architecture
    use them. ``adapt_state`` may rewrite further weights.
    """

    input_key: str = ""
    inner: str = ""
    channels: int

    def adapt_state(self, state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
        """Rewrite weights to fit this instance; returns them with one note for each rewritten key."""
        return state, []

    def load_weights(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        strip: Sequence[str] = (),
        input_init: InputInit = "inflate",
        copy: Mapping[int, int] | None = None,
        strict: bool = False,
    ) -> WeightReport:
        """Load a local safetensors file, torch state dict or training checkpoint.

        Args:
            path: the file, or a folder holding ``model.safetensors``.
            key: which state dict of a training checkpoint, where it holds several.
            strip: prefixes to remove from the file's names, for example ``["module.", "encoder_q."]``.
            input_init: what to do with a first layer of another number of channels, see ``adapt_input``.
            copy: target band -> source channel, for ``input_init="copy"``.
            strict: refuse an incomplete match.

        Raises:
            CheckpointError: see ``read_state`` and :func:`load_state`.
        """
        target: Any = getattr(self, self.inner) if self.inner else self
        prefixes = [*strip, f"{self.inner}."] if self.inner else list(strip)
        state = strip_prefixes(read_state(path, key=key), prefixes)
        state, notes = self.adapt_state(state)
        first = state.get(self.input_key)
        if first is not None and first.dim() > 2 and first.shape[1] != self.channels:
            state = adapt_input(state, self.input_key, self.channels, input_init, copy=copy)
            notes.append(f"{self.input_key}: {first.shape[1]} -> {self.channels} channels ({input_init})")
        return load_state(target, state, source=str(path), adapted=notes, strict=strict)
