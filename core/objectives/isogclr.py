"""iSogCLR: a temperature for each sample, and a running average in place of the data set's negatives."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.errors import KindredError
from core.objectives.rows import EMPTY, as_pair, ids_or_rows, in_full_precision, mean_over, unit_rows


class Estimate(NamedTuple):
    """What one direction gives: loss of each row, new log average, gradient of the temperature."""

    loss: Tensor
    log_average: Tensor
    gradient: Tensor


def global_estimate(
    similarity: Tensor,
    keep: Tensor,
    count: Tensor,
    log_average: Tensor,
    temperature: Tensor,
    *,
    decay: float,
    rho: float,
) -> Estimate:
    """Surrogate loss of rows whose partition sum is a running average over steps, in the log domain.

    Formula:
        g_i = 1/count sum_j keep_ij e^{s_ij/tau_i}; u_i <- (1 - decay) u_i + decay g_i (u_i = g_i at first
        sight); w_ij = e^{s_ij/tau_i}/u_i; loss_i = 1/count sum_j w_ij s_ij, w constant; gradient_i = log u_i
        + rho - 1/count sum_j w_ij s_ij/tau_i.

    Args:
        similarity: (R, C) s, with gradient.
        keep: (R, C) bool, columns in the sum.
        count: (R,) divisor, >= 1.
        log_average: (R,) log u_i; -inf for a row never seen.
        temperature: (R,) tau_i.
        decay: share of the new value in (0, 1].
        rho: strength of the temperature's regularisation.

    >>> e = global_estimate(torch.zeros(1, 2), torch.tensor([[True, True]]), torch.tensor([2.0]),
    ...                     torch.tensor([-torch.inf]), torch.tensor([0.1]), decay=0.8, rho=0.3)
    >>> e.loss, e.log_average, e.gradient
    (tensor([0.]), tensor([0.]), tensor([0.3000]))
    """
    exponent = (similarity.detach() / temperature[:, None]).masked_fill(~keep, EMPTY)
    log_g = exponent.logsumexp(1) - count.log()
    seen = torch.isfinite(log_average)
    blended = torch.logaddexp(
        torch.where(seen, log_average, log_g) + (math.log1p(-decay) if decay < 1 else EMPTY),
        log_g + math.log(decay),
    )
    weight = (exponent - blended[:, None] - count.log()[:, None]).exp() * keep
    gradient = blended + rho - (weight * exponent).sum(1)
    return Estimate((weight * similarity).sum(1), blended, gradient)


class IndividualTemperatures(nn.Module):
    """Contrastive loss with one learned temperature a sample, for unimodal views or for two modalities.

    Formula:
        l_i = 1/n sum_{j in negatives} w_ij s_ij - s_i,own with w_ij = e^{s_ij/tau_i}/u_i constant, u_i the
        running average of 1/n sum_j e^{s_ij/tau_i}. Temperatures descend their own gradient (see
        `global_estimate`), clipped, with momentum: v_i <- (1 - beta) v_i + beta clip(gradient_i), tau_i <-
        clip(tau_i - rate v_i, bounds).
        Unimodal: both views are rows, columns are both views of the other samples. Bimodal: both directions,
        on differences s_ij - s_ii, the own partner among the columns, divisor N - 1.

    Use when:
        Batches are small for the data set (the average corrects the bias), or classes are long-tailed
        (frequent kinds need a larger temperature than rare ones).

    Cost:
        6 (2N)^2 d (unimodal) or 6 N^2 d (bimodal) time, memory O(N^2); state of 3 floats a sample and
        modality.

    Source:
        Qiu et al. 2023, "Not all semantics are created equal: contrastive self-supervised learning with
        automatic temperature individualization"; repository zhqiu/contrastive-learning-iSogCLR.
        Verified against numbers of the official code over three steps, state included.

    Distributed:
        gather (embeddings and sample indices); every rank then updates its copy of the state alike.

    Used by:
        no pipeline yet.

    Args:
        size: number of samples in the data set; the state is indexed by the sample's stable position.
        bimodal: two modalities instead of two views.
        temperature: start, within `bounds`.
        bounds: smallest and largest temperature; (.05, 1) unimodal, (.005, 1) bimodal where left out.
        rho: strength of the temperature's regularisation; .3 unimodal, 6 bimodal where left out.
        decay: share of the new value in the running average, in (0, 1].
        rate: step of the temperatures.
        momentum: share of the new gradient, in (0, 1].
        clip: largest absolute gradient; 3 unimodal, 5 bimodal where left out.

    Raises:
        KindredError: `temperature` outside `bounds`, or an empty data set.

    Example:
        >>> loss = IndividualTemperatures(100)
        >>> x = torch.randn(4, 8)
        >>> value = loss(torch.tensor([3, 1, 4, 15]), x, x + 0.1 * torch.randn(4, 8))
        >>> loss.temperature.shape, sorted(loss.state_dict())
        (torch.Size([1, 100]), ['descent', 'log_average', 'temperature'])
    """

    log_average: Tensor
    temperature: Tensor
    descent: Tensor

    def __init__(
        self,
        size: int,
        *,
        bimodal: bool = False,
        temperature: float = 0.07,
        bounds: tuple[float, float] | None = None,
        rho: float | None = None,
        decay: float = 0.8,
        rate: float = 0.01,
        momentum: float = 0.9,
        clip: float | None = None,
    ) -> None:
        super().__init__()
        self.bimodal = bimodal
        self.bounds = bounds if bounds is not None else ((0.005, 1.0) if bimodal else (0.05, 1.0))
        self.rho = rho if rho is not None else (6.0 if bimodal else 0.3)
        self.clip = clip if clip is not None else (5.0 if bimodal else 3.0)
        self.decay, self.rate, self.momentum = decay, rate, momentum
        if size < 1 or not self.bounds[0] <= temperature <= self.bounds[1]:
            raise KindredError(
                "IndividualTemperatures",
                seen={"size": size, "temperature": temperature},
                expected=f"size >= 1 and a temperature within {self.bounds}",
                remedy="give the number of training samples and a start such as 0.07",
            )
        shape = (2 if bimodal else 1, size)
        self.register_buffer("log_average", torch.full(shape, -torch.inf))
        self.register_buffer("temperature", torch.full(shape, float(temperature)))
        self.register_buffer("descent", torch.zeros(shape))

    @in_full_precision
    def forward(self, index: Tensor, x: Tensor, y: Tensor, *, groups: Tensor | None = None) -> Tensor:
        """The loss of one batch; in training mode it also moves the state of the samples named by `index`.

        Args:
            index: (N,) int64 stable positions in the data set, each at most once in a batch.
            x: (N, d) first view or modality, any float dtype.
            y: (N, d) second view or modality.
            groups: (N,) integer ids; other samples of the group are no negatives.

        Returns:
            Scalar; samples without any negative are left out of the mean.
        """
        x, y = as_pair("x", x, "y", y)
        x, y = unit_rows(x), unit_rows(y)
        ids = ids_or_rows(groups, x)
        apart = ids[:, None] != ids[None, :]
        if self.bimodal:
            similarity = x @ y.T
            own = similarity.diagonal()
            keep = apart | torch.eye(len(x), dtype=torch.bool, device=x.device)
            first = self._estimate(0, index, similarity - own[:, None], keep, apart.sum(1))
            second = self._estimate(1, index, similarity.T - own[:, None], keep, apart.sum(1))
            self._update(0, index, first.log_average, first.gradient, apart.any(1))
            self._update(1, index, second.log_average, second.gradient, apart.any(1))
            return mean_over(first.loss + second.loss, apart.any(1))
        both = torch.cat([x, y])
        own = (x * y).sum(1)
        rows = [
            self._estimate(0, index, view @ both.T, apart.repeat(1, 2), 2 * apart.sum(1)) for view in (x, y)
        ]
        average = torch.logaddexp(rows[0].log_average, rows[1].log_average) - math.log(2)
        self._update(0, index, average, (rows[0].gradient + rows[1].gradient) / 2, apart.any(1))
        return mean_over(rows[0].loss + rows[1].loss - 2 * own, apart.any(1))

    def _estimate(
        self, which: int, index: Tensor, similarity: Tensor, keep: Tensor, count: Tensor
    ) -> Estimate:
        return global_estimate(
            similarity,
            keep,
            count.clamp_min(1).to(similarity.dtype),
            self.log_average[which, index].to(similarity.dtype),
            self.temperature[which, index].to(similarity.dtype),
            decay=self.decay,
            rho=self.rho,
        )

    @torch.no_grad()
    def _update(
        self, which: int, index: Tensor, log_average: Tensor, gradient: Tensor, moved: Tensor
    ) -> None:
        """Writes the state of the samples `index`; one without negatives (`moved` False) keeps its own."""
        if not self.training:
            return
        old_average, old_descent = self.log_average[which, index], self.descent[which, index]
        old_temperature = self.temperature[which, index]
        clipped = gradient.clamp(-self.clip, self.clip).to(old_descent)
        descent = (1 - self.momentum) * old_descent + self.momentum * clipped
        temperature = (old_temperature - self.rate * descent).clamp(*self.bounds)
        self.log_average[which, index] = torch.where(moved, log_average.to(old_average), old_average)
        self.descent[which, index] = torch.where(moved, descent, old_descent)
        self.temperature[which, index] = torch.where(moved, temperature, old_temperature)
