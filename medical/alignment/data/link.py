"""Which ECG belongs to which film: the same patient, close enough in time, by a stated rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

Policy = Literal["nearest", "earliest", "all"]


@dataclass(frozen=True)
class Rule:
    """How films and ECGs of a patient are linked.

    Attributes:
        policy: ``nearest`` or ``earliest`` ECG within the window, or ``all`` of them.
        days: window on either side. MoRE: 60 days, ``all``, ``dates_only``.
        before_only: the ECG may not be later than the film.
        dates_only: compare calendar days, as MoRE; a day's ECGs then all have the distance 0.
        most: pairs a film at most, the nearest first; None for any number.
    """

    policy: Policy = "nearest"
    days: float = 1.0
    before_only: bool = False
    dates_only: bool = False
    most: int | None = None

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy) or self.days < 0 or (self.most is not None and self.most < 1):
            raise ConfigError(
                "link (policy, days, most)",
                seen=(self.policy, self.days, self.most),
                expected=f"one of {', '.join(get_args(Policy))}; >= 0; >= 1",
            )


MORE60 = Rule(policy="all", days=60.0, dates_only=True)
"""The rule of MoRE's released code."""


def link(films: pd.DataFrame, ecgs: pd.DataFrame, rule: Rule) -> tuple[pd.DataFrame, dict[str, int]]:
    """Pairs of films and ECGs, and how many films were left without and why.

    Ids of films and of ECGs are never compared: only the patient links them. Times of one patient are shifted by
    one amount in the public data sets, so that differences within a patient are real.

    Args:
        films: columns ``subject``, ``time`` (datetime, NaT where unknown); the index names the film.
        ecgs: the same.

    Returns:
        A table with the columns ``film``, ``ecg`` (index values) and ``hours`` (ECG minus film), sorted by film,
        and counts: ``linked``, ``pairs``, ``film_without_time``, ``no_ecg_of_patient``, ``outside_window``,
        ``ecg_without_time``, ``ecg_unused``.

    >>> import pandas as pd
    >>> table = lambda *times: pd.DataFrame({"subject": "a", "time": [pd.Timestamp(time) for time in times]})
    >>> pairs, counts = link(table("2020-01-02"), table("2020-01-01", "2020-01-02 06:00"), Rule())
    >>> pairs.to_numpy().tolist(), counts["outside_window"]
    ([[0.0, 1.0, 6.0]], 0)
    """
    import numpy as np

    left = films[films["time"].notna()][["subject", "time"]].rename_axis("film").reset_index()
    right = ecgs[ecgs["time"].notna()][["subject", "time"]].rename_axis("ecg").reset_index()
    if rule.dates_only:
        left["time"], right["time"] = left["time"].dt.normalize(), right["time"].dt.normalize()
    both = left.merge(right, on="subject", suffixes=("_film", "_ecg"))
    both["hours"] = (both["time_ecg"] - both["time_film"]) / np.timedelta64(1, "h")
    inside = both[both["hours"].abs() <= 24 * rule.days]
    if rule.before_only:
        inside = inside[inside["hours"] <= 0]
    inside = inside.assign(distance=inside["hours"].abs())
    order = ["film", "time_ecg", "ecg"] if rule.policy == "earliest" else ["film", "distance", "ecg"]
    inside = inside.sort_values(order, kind="stable")
    most = 1 if rule.policy != "all" else rule.most
    if most is not None:
        inside = inside.groupby("film", sort=False).head(most)
    pairs = inside[["film", "ecg", "hours"]].reset_index(drop=True)
    linked = set(pairs["film"])
    with_partner = set(both["film"])
    counts = {
        "linked": len(linked),
        "pairs": len(pairs),
        "film_without_time": int(films["time"].isna().sum()),
        "no_ecg_of_patient": len(set(left["film"]) - with_partner),
        "outside_window": len(with_partner - linked),
        "ecg_without_time": int(ecgs["time"].isna().sum()),
        "ecg_unused": len(ecgs) - int(pairs["ecg"].nunique()),
    }
    return pairs, counts
