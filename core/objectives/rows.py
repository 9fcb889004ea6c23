"""What every objective does first: check shapes, lift half precision, put rows on the unit sphere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from core.errors import KindredError

EMPTY = -1e30
"""The logarithm of an empty sum: below any logit, and finite, so that sums and gradients stay defined."""


P = ParamSpec("P")
R = TypeVar("R")


def in_full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Turns autocast off while `function` runs: its matrix products stay in the precision of `as_rows`.

    >>> product = in_full_precision(lambda x: x @ x.T)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     product(torch.eye(2)).dtype
    torch.float32
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast(_device_type([*args, *kwargs.values()]), enabled=False):
            return function(*args, **kwargs)

    return wrapped


def _device_type(values: Sequence[object]) -> str:
    for value in values:
        value = value[0] if isinstance(value, (list, tuple)) and value else value
        if isinstance(value, Tensor):
            return value.device.type
    return "cpu"


def as_rows(name: str, x: Tensor, *, like: Tensor | None = None, ndim: int = 2) -> Tensor:
    """Checks that `x` is floating with `ndim` dimensions (and the shape of `like`); lifts it to float32.

    bf16 and fp16 are lifted to float32, so that similarities, exponentials and sums never run in half
    precision; float32 and float64 pass unchanged.

    Raises:
        KindredError: another number of dimensions, an integer dtype, or a shape other than that of `like`.

    >>> as_rows("embeddings", torch.ones(2, 3, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    if x.ndim != ndim or not x.is_floating_point():
        raise KindredError(
            name,
            seen=f"{x.ndim} dimensions of {x.dtype}",
            expected=f"a floating-point tensor of {ndim} dimensions"
            + (" (rows, width)" if ndim == 2 else ""),
            remedy="pass embeddings, one a row, not labels or a flat vector",
        )
    if like is not None and x.shape != like.shape:
        raise KindredError(
            name,
            seen=tuple(x.shape),
            expected=f"the shape of its partner, {tuple(like.shape)}",
            remedy="row i of both must be the two sides of pair i",
        )
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def as_pair(name: str, x: Tensor, partner_name: str, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Both of `as_rows`, checked to be of one shape and brought to one dtype.

    >>> [t.dtype for t in as_pair("x", torch.ones(2, 3).half(), "y", torch.ones(2, 3).double())]
    [torch.float64, torch.float64]
    """
    x, partner = as_rows(name, x), as_rows(partner_name, partner, like=x)
    dtype = torch.promote_types(x.dtype, partner.dtype)
    return x.to(dtype), partner.to(dtype)


def as_stack(name: str, tensors: Tensor | Sequence[Tensor], *, least: int = 2) -> Tensor:
    """Turns a list of (N, d) tensors, or a (V, N, d) tensor, into one (V, N, d) tensor of float32 or float64.

    >>> as_stack("views", [torch.zeros(4, 8), torch.zeros(4, 8)]).shape
    torch.Size([2, 4, 8])
    """
    if not isinstance(tensors, Tensor):
        if len(tensors) < least:
            raise _too_few(name, len(tensors), least)
        first = as_rows(f"{name}[0]", tensors[0])
        tensors = torch.stack([as_rows(f"{name}[{i}]", x, like=first) for i, x in enumerate(tensors)])
    stack = as_rows(name, tensors, ndim=3)
    if len(stack) < least:
        raise _too_few(name, len(stack), least)
    return stack


def _too_few(name: str, count: int, least: int) -> KindredError:
    return KindredError(
        name, seen=f"{count} of them", expected=f"at least {least}", remedy="pass them as a list or (V, N, d)"
    )


def unit_rows(x: Tensor, dim: int = -1) -> Tensor:
    """Divides each vector along `dim` by its length; a zero vector stays zero and passes no gradient.

    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    square = x.square().sum(dim, keepdim=True)
    tiny = square <= torch.finfo(x.dtype).tiny
    return x * torch.where(tiny, 0.0, torch.where(tiny, 1.0, square).rsqrt())


def ids_or_rows(groups: Tensor | None, x: Tensor, *, name: str = "groups") -> Tensor:
    """(N,) ids that tell rows apart: `groups` where given (rows of one patient share an id), else 0..N-1.

    >>> ids_or_rows(None, torch.zeros(3, 2))
    tensor([0, 1, 2])
    """
    if groups is None:
        return torch.arange(len(x), device=x.device)
    if groups.shape != (len(x),) or groups.is_floating_point():
        raise KindredError(
            name,
            seen=f"{tuple(groups.shape)} of {groups.dtype}",
            expected=f"({len(x)},) integers, one a row",
            remedy="number the patients, scenes or repositories and give each row the number of its own",
        )
    return groups


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root of max(x, 0) whose gradient at 0 is 0 instead of infinite.

    >>> safe_sqrt(torch.tensor([4.0, 0.0, -1e-9]))
    tensor([2., 0., 0.])
    """
    positive = x > torch.finfo(x.dtype).tiny
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)


def mean_over(values: Tensor, keep: Tensor) -> Tensor:
    """Mean of `values` where `keep` is true; 0 with zero gradient where nothing is kept.

    >>> mean_over(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([True, False, True]))
    tensor(5.)
    """
    return torch.where(keep, values, 0.0).sum() / keep.sum().clamp_min(1)
