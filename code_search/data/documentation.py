"""A docstring or a doc comment to the first paragraph of prose, markup signs taken away."""

from __future__ import annotations

import re

_QUOTES = re.compile(r"^[rRuUbBfF]{0,2}(\"\"\"|'''|\"|')(.*?)(?:\1)?$", re.DOTALL)
_LINE_SIGN = re.compile(r"^[ \t]*(?:///?!?|//!|#+|--|\*(?!/))[ \t]?")
_BLOCK = re.compile(r"^/\*[*!]*|\*+/$")
_TAG = re.compile(r"^[ \t]*(?:[@\\][a-zA-Z]+\b|:(?:param|returns?|raises?|type|rtype)\b)")
_INLINE = re.compile(r"\{@(?:code|link|linkplain|literal|value)\s+([^}]*)\}")
_SECTION = re.compile(
    r"^(?:args|arguments|parameters|params|returns?|yields?|raises|examples?|notes?|see also)\s*:?\s*$", re.I
)
_RULE = re.compile(r"^[\s=\-~*#_/+.]*$")


def from_docstring(literal: str) -> str:
    """The first paragraph of a Python docstring, given the string literal with its quotes.

    >>> from_docstring("'''Sort the rows\\nin place.\\n\\nDetails.'''")
    'Sort the rows\\nin place.'
    """
    match = _QUOTES.match(literal)
    text = match.group(2) if match else literal
    return first_paragraph(text.replace("\r\n", "\n").expandtabs().split("\n"))


def from_comment(text: str) -> str:
    """The first paragraph of a comment: a block, or line comments on consecutive lines.

    >>> from_comment("/** Adds {@code a} to the list.\\n * Fast.\\n *\\n * @param a what to add\\n */")
    'Adds a to the list.\\nFast.'
    """
    text = text.replace("\r\n", "\n").strip()
    block = text.startswith("/*")
    if block:
        text = _BLOCK.sub("", text)
    elif text.startswith("=begin"):
        text = text.removeprefix("=begin").removesuffix("=end")
    lines = [_LINE_SIGN.sub("", line) for line in text.split("\n")]
    return first_paragraph([_INLINE.sub(r"\1", line) for line in lines])


def first_paragraph(lines: list[str]) -> str:
    """The first run of lines with words, up to a blank line, a tag such as ``@param`` or a section head."""
    kept: list[str] = []
    for line in lines:
        text = line.strip()
        if not text or _RULE.match(text):
            if kept:
                break
            continue
        if _TAG.match(text) or (kept and _SECTION.match(text)):
            break
        kept.append(text)
    return "\n".join(kept)
