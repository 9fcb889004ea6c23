"""The sentences: of one sound, of two sounds and their order, and of the zero-shot tasks."""

from __future__ import annotations

from collections.abc import Sequence

from audio_language.compose import Relation
from core.errors import ConfigError

TAG = "this is a sound of {}"
"""The prompt of zero-shot tagging."""
SINGLE = "Single sound of {}"
COMBINED = "Combined sound of {} and {}"
FIRST_SLOT = "In this concatenated sound, the first sound is {}"
SECOND_SLOT = "In this concatenated sound, the second sound is {}"
ORDER_PREFIX = "This is a sound of "

CAPTIONS = (TAG, "{}", "the sound of {}", "i can hear {}", "this is {}", SINGLE)
"""How the captions of a labelled clip are worded."""

CONNECTIVES = {
    "before": "{0} before {1}",
    "then": "{0} then {1}",
    "followed by": "{0} followed by {1}",
    "after": "{1} after {0}",
}
"""Wordings of "sound 0, and after it sound 1". In the last one the words stand against the sounds."""
OVERLAPS = {"while": "{0} while {1}"}


def words(label: str) -> str:
    """A label as words: ``vacuum_cleaner`` is "vacuum cleaner".

    >>> words("vacuum_cleaner")
    'vacuum cleaner'
    """
    return " ".join(label.replace("_", " ").split())


def pair_caption(first: str, second: str, relation: Relation, connective: str = "before") -> str:
    """The caption of two sounds composed by ``relation``.

    >>> pair_caption("dog", "siren", "reversed"), pair_caption("dog", "siren", "before", "after")
    ('siren before dog', 'siren after dog')
    """
    if relation == "while":
        return OVERLAPS["while"].format(first, second)
    if connective not in CONNECTIVES:
        raise ConfigError("connective", seen=connective, expected=f"one of {', '.join(CONNECTIVES)}")
    ordered = (first, second) if relation == "before" else (second, first)
    return CONNECTIVES[connective].format(*ordered)


def check_template(template: str, *, name: str = "prompt") -> str:
    """Refuse a prompt without exactly one ``{}``, the place of the label.

    >>> check_template("this is {}")
    'this is {}'
    """
    if template.count("{}") != 1 or template.replace("{}", "").strip("{") != template.replace("{}", ""):
        raise ConfigError(name, seen=template, expected="a sentence with one {} where the label goes")
    return template


def tag_prompts(labels: Sequence[str], template: str = TAG) -> list[str]:
    """One prompt a label.

    >>> tag_prompts(["clock_tick"])
    ['this is a sound of clock tick']
    """
    check_template(template)
    return [template.format(words(label)) for label in labels]
