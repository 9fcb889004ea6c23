"""Explained diagnosis without labels: observations are scored by prompts, a finding is what its observations say.

Pellegrini et al. 2023, "Xplainer: from X-ray observations to explainable zero-shot diagnosis", MICCAI. It runs on
any pair of encoders with cosine output; how good it is depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.errors import DataError

NO_FINDING = "No Finding"
TEMPERATURE = 0.5
Catalogue = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Explanation:
    """What the observations of one item say.

    Attributes:
        observations: finding -> observation -> probability that it is there.
        positive, negative: finding -> geometric mean of the probabilities that its observations are there, and
            that they are not; the two need not sum to 1.
    """

    observations: dict[str, dict[str, float]] = field(repr=False)
    positive: dict[str, float]
    negative: dict[str, float]

    @property
    def predicted(self) -> list[str]:
        """Findings whose observations speak more for than against; without `NO_FINDING`."""
        return [name for name, p in self.positive.items() if p > self.negative[name] and name != NO_FINDING]

    def vector(self, names: Sequence[str]) -> list[float]:
        """Probability of each named finding; that of `NO_FINDING` is 1 - the largest of all others."""
        largest = max((p for name, p in self.positive.items() if name != NO_FINDING), default=0.0)
        return [1 - largest if name == NO_FINDING else self.positive[name] for name in names]

    def ranked(self, finding: str) -> list[tuple[str, float]]:
        """The observations of a finding, the most probable first."""
        return sorted(self.observations[finding].items(), key=lambda one: -one[1])


def prompts(finding: str, observation: str) -> tuple[str, str]:
    """The statement that an observation is there, and that it is not.

    >>> prompts("Edema", "a haze over both lungs")
    ('There are a haze over both lungs indicating Edema', 'There are no a haze over both lungs indicating Edema')
    """
    rest = f"{observation} indicating {finding}"
    return f"There are {rest}", f"There are no {rest}"


def all_prompts(catalogue: Catalogue) -> list[str]:
    """Both statements of every observation, in order: 2 i and 2 i + 1 belong to observation i.

    Raises:
        DataError: no finding, a finding without observations, or an observation given twice for one finding.
    """
    if not catalogue:
        raise DataError("observations", seen="no finding", expected="finding -> list of observations")
    for finding, observations in catalogue.items():
        if not observations or len(set(observations)) != len(observations):
            raise DataError(
                f"observations of {finding}",
                seen=list(observations),
                expected="at least one, each given once",
                remedy="correct the prompts file",
            )
    return [text for name, found in catalogue.items() for one in found for text in prompts(name, one)]


def explain(cosines: np.ndarray, catalogue: Catalogue, *, temperature: float = TEMPERATURE) -> Explanation:
    """Probabilities of observations and findings of one item.

    (p+, p-) = softmax((cos+, cos-) / temperature) for each observation; a finding's probability is
    exp(mean ln p+) over its observations, and likewise for p-.

    Args:
        cosines: (2 n,) cosine of the item with each of `all_prompts`; (views, 2 n) for several views of one
            study, whose probabilities are averaged.
        catalogue: finding -> observations.

    Raises:
        DataError: another number of cosines, or NaN among them.

    >>> found = explain(np.array([0.9, 0.1]), {"Edema": ["haze"]})
    >>> round(found.positive["Edema"], 3), found.predicted
    (0.832, ['Edema'])
    """
    count = sum(map(len, catalogue.values()))
    values = np.atleast_2d(np.asarray(cosines, dtype=np.float64))
    if values.shape[1] != 2 * count or not np.isfinite(values).all():
        raise DataError(
            "cosines", seen=values.shape, expected=f"(views, {2 * count}) numbers, two an observation"
        )
    pairs = values.reshape(len(values), count, 2) / temperature
    margin = pairs[..., 0] - pairs[..., 1]
    # log of the mean over views of the sigmoid, without ever taking the logarithm of 0
    views = np.log(len(values))
    log_yes = np.logaddexp.reduce(-np.logaddexp(0, -margin), axis=0) - views
    log_no = np.logaddexp.reduce(-np.logaddexp(0, margin), axis=0) - views
    observations: dict[str, dict[str, float]] = {}
    positive, negative, start = {}, {}, 0
    for name, found in catalogue.items():
        part = slice(start, start + len(found))
        observations[name] = dict(zip(found, np.exp(log_yes[part]).tolist(), strict=True))
        positive[name] = float(np.exp(log_yes[part].mean()))
        negative[name] = float(np.exp(log_no[part].mean()))
        start += len(found)
    return Explanation(observations, positive, negative)
