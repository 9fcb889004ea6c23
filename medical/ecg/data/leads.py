"""The twelve leads: their order by name, the four that follow from I and II, and swapped cables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medical.ecg.data.problems import BadRecord

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SWAPPED = 0.1
_PLACE = {name.upper(): place for place, name in enumerate(LEADS)}


def order_leads(signal: np.ndarray, names: Sequence[str], *, where: str = "recording") -> np.ndarray:
    """Columns in the order of `LEADS`, found by name; limb leads that are missing are derived from I and II.

    III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2. Names are compared without regard
    to case ("AVR" is aVR). Further channels are left out.

    Args:
        signal: (T, L) in mV. names: L of them.

    Returns:
        (T, 12); a view of ``signal`` where the order is right already.

    Raises:
        BadRecord: a lead is given twice, or missing and not derivable.

    >>> order_leads(np.arange(12.0)[None], [n.upper() for n in reversed(LEADS)])[0, :3].tolist()
    [11.0, 10.0, 9.0]
    """
    keys = [str(name).strip().upper() for name in names]
    if signal.ndim != 2 or signal.shape[1] != len(keys):
        raise BadRecord("leads", f"{where}: {len(keys)} lead name(s) for a signal of shape {signal.shape}")
    twice = sorted({key for key in keys if key in _PLACE and keys.count(key) > 1})
    if twice:
        raise BadRecord("leads", f"{where}: lead(s) given twice: {', '.join(twice)}")
    at = {key: place for place, key in enumerate(keys)}
    missing = [name for name in LEADS if name.upper() not in at]
    if not missing:
        order = [at[name.upper()] for name in LEADS]
        return signal if order == list(range(signal.shape[1])) else signal[:, order]
    derivable = "I" in at and "II" in at and not {"V1", "V2", "V3", "V4", "V5", "V6"} & set(missing)
    if not derivable:
        raise BadRecord(
            "leads",
            f"{where}: missing lead(s) {', '.join(missing)} among {', '.join(names)}; expected the 12 standard "
            "leads, or at least I, II and V1 to V6",
        )
    one, two = signal[:, at["I"]], signal[:, at["II"]]
    derived = {"III": two - one, "AVR": -(one + two) / 2, "AVL": one - two / 2, "AVF": two - one / 2}
    columns = [signal[:, at[key]] if key in at else derived[key] for key in _PLACE]
    return np.stack(columns, axis=1)


def limb_residual(signal: np.ndarray) -> float:
    """How far the limb leads are from Einthoven's and Goldberger's laws: the larger median, in mV.

    max(median |I + III - II|, median |aVR + aVL + aVF|). Leads of one device fulfil both up to rounding; above
    `SWAPPED` (0.1 mV) columns or cables have been mixed up.

    Args:
        signal: (T, 12) or (12, T) in the order of `LEADS`.

    >>> limb_residual(np.zeros((100, 12)))
    0.0
    """
    rows = signal.T if signal.shape[-1] == 12 else signal
    first = np.median(np.abs(rows[0] + rows[2] - rows[1]))
    second = np.median(np.abs(rows[3] + rows[4] + rows[5]))
    return float(max(first, second))
