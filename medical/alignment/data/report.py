"""Report texts: sections of an X-ray report, statements of an ECG machine, and the pair of both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

XRAY_PREFIX = "The report from Xray is: "
ECG_PREFIX = "The report from ECG is: "
LONG = 250
FEWEST_WORDS = {"xray": 4, "ecg": 2}
_SECTION = re.compile(r"^\s*([A-Z][A-Z /()-]{2,40}):", re.MULTILINE)
_CLOCK = re.compile(r"\b\d{1,2}:\d{2}\b|\b\d{1,2}\s?[ap]\.?m\.?\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def xray_report(text: str, *, impression_first: bool | None = None) -> str:
    """FINDINGS and IMPRESSION of a report, cleaned; the whole text where it has neither section.

    White space and the underscores of de-identification go, and sentences that tell a time of day.

    Args:
        impression_first: the order for texts that will be cut: what matters most stays. None: for reports of more
            than `LONG` words.

    >>> xray_report("EXAM: chest\\nFINDINGS:  Clear lungs.\\nIMPRESSION: No\\n change. Told ___ at 10:15.")
    'Clear lungs. No change.'
    """
    marks = list(_SECTION.finditer(text))
    sections: dict[str, str] = {}
    for mark, following in zip(marks, [*marks[1:], None]):
        end = following.start() if following else len(text)
        sections.setdefault(mark[1].strip(), text[mark.end() : end])
    if impression_first is None:
        impression_first = (
            sum(len(sections.get(name, "").split()) for name in ("FINDINGS", "IMPRESSION")) > LONG
        )
    names = ("IMPRESSION", "FINDINGS") if impression_first else ("FINDINGS", "IMPRESSION")
    found = [sections[name] for name in names if name in sections]
    return clean(" ".join(found) if found else text)


def clean(text: str) -> str:
    """Single spaces, no underscores, no sentence with a time of day."""
    plain = " ".join(text.replace("_", " ").split())
    return " ".join(one for one in _SENTENCE.split(plain) if one and not _CLOCK.search(one)).strip()


def ecg_report(statements: Iterable[object]) -> str:
    """The statements of an ECG machine (report_0, report_1, ...) as sentences; empty ones are skipped.

    >>> ecg_report(["Sinus rhythm", "", float("nan"), "Normal ECG."])
    'Sinus rhythm. Normal ECG.'
    """
    kept = [
        " ".join(str(one).split()).rstrip(".") for one in statements if isinstance(one, str) and one.strip()
    ]
    return ". ".join(kept) + "." if kept else ""


def usable(text: str, kind: str) -> str:
    """The text, or "" where it has too few words to say anything (`FEWEST_WORDS`).

    >>> usable("as above", "xray"), usable("Sinus rhythm.", "ecg")
    ('', 'Sinus rhythm.')
    """
    return text if len(re.findall(r"[^\W\d_]+", text)) >= FEWEST_WORDS[kind] else ""


def label_report(labels: Mapping[str, float]) -> str:
    """A text made of labels (1 present, -1 uncertain), for studies without a report; "" where none is set.

    >>> label_report({"Edema": 1.0, "Pneumonia": -1.0, "Fracture": 0.0})
    'Edema is present. Uncertain finding of Pneumonia.'
    """
    present = [name for name, value in labels.items() if value == 1]
    uncertain = [name for name, value in labels.items() if value == -1]
    parts = []
    if present:
        parts.append(f"{', '.join(present)} {'is' if len(present) == 1 else 'are'} present.")
    if uncertain:
        parts.append(f"Uncertain finding of {', '.join(uncertain)}.")
    return " ".join(parts)


def pair_text(xray: str, ecg: str) -> str:
    """What the text tower reads: both reports with their prefixes; only what is there.

    >>> pair_text("Clear lungs.", "")
    'The report from Xray is: Clear lungs.'
    """
    return " ".join(prefix + text for prefix, text in ((XRAY_PREFIX, xray), (ECG_PREFIX, ecg)) if text)


def repeated(texts: Sequence[str], least: int = 2) -> dict[str, int]:
    """Texts that several items share, with their counts, the most frequent first.

    >>> repeated(["a", "b", "a", ""])
    {'a': 2}
    """
    from collections import Counter

    counts = Counter(text for text in texts if text)
    return {text: count for text, count in counts.most_common() if count >= least}
