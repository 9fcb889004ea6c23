"""Writes docs/objectives.md from the docstrings of `core.objectives`: the page cannot drift from the code.

`python docs/generate_objectives.py` rewrites the page; `--check` only compares (exit 1 on a difference).
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import NamedTuple

import core.objectives as objectives

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "objectives.md"
SECTIONS = (
    "Formula",
    "Use when",
    "Cost",
    "Source",
    "Distributed",
    "Used by",
    "Args",
    "Returns",
    "Raises",
    "Example",
)
HEADER = re.compile(rf"^({'|'.join(SECTIONS)}):\s*(.*)$")


class Entry(NamedTuple):
    """One line of the ranking: public names, verdict, reason, files with the numbers it is held to."""

    names: tuple[str, ...]
    verdict: str
    reason: str
    vectors: tuple[str, ...] = ()


RANKING = (
    Entry(
        ("nt_xent",),
        "must",
        "two views of a sample; the reference for everything else",
        (
            "core_ntxent_lightly",
            "core_ntxent_memorybank_lightly",
            "core_ntxent_monai",
            "mri_global_gr",
            "softcon_mocov2_queue_official",
        ),
    ),
    Entry(
        ("clip",), "must", "pairs of two modalities, learned scale", ("core_clip_openclip", "more_infonce")
    ),
    Entry(("supcon",), "must", "labels say who belongs together", ("core_supcon",)),
    Entry(
        ("soft_contrast",),
        "must",
        "label overlap says how much two samples belong together",
        ("softcon_soft_reconstruction",),
    ),
    Entry(
        ("contrast",),
        "must",
        "the kernel all softmax objectives are settings of; queue, groups, soft weights",
    ),
    Entry(("pixpro", "PixelPropagation"), "must", "local detail, no negatives", ("core_pixpro_official",)),
    Entry(("dense_local",), "must", "local detail, cells matched by what they look like"),
    Entry(("siglip",), "must", "small batches, no normaliser over the batch", ("core_siglip_openclip",)),
    Entry(
        ("pairwise",),
        "must",
        "three or more modalities, often one absent",
        ("symile_3mod_norm", "symile_3mod_raw"),
    ),
    Entry(
        ("symile", "symile_similarity"),
        "useful",
        "what only three modalities together tell",
        (
            "core_symile_official",
            "symile_3mod_norm",
            "symile_3mod_raw",
            "symile_4mod_norm",
            "symile_4mod_raw",
        ),
    ),
    Entry(
        ("gram", "gram_volume"),
        "useful",
        "all modalities of a sample in one place",
        ("core_gram_official", "gram_3mod_norm", "gram_4mod_raw"),
    ),
    Entry(("dcl",), "useful", "accuracy for nothing at batches up to 512", ("core_dcl_lightly",)),
    Entry(
        ("alignment", "uniformity", "cross_uniformity"),
        "useful",
        "the best numbers of collapse",
        ("core_contrastive_gap",),
    ),
    Entry(("contrastive_gap",), "useful", "modalities that sit in separate cones", ("core_contrastive_gap",)),
    Entry(
        ("mv_infonce", "mv_dhel"),
        "useful",
        "more than two views: seasons, slices, crops",
        ("core_multiview_official",),
    ),
    Entry(("vicreg", "barlow_twins"), "useful", "baselines without negatives", ("core_redundancy_lightly",)),
    Entry(("swav", "sinkhorn"), "useful", "baseline with prototypes", ("core_swav_lightly",)),
    Entry(
        ("cwcl",),
        "useful",
        "transfer from a frozen tower to a new modality",
        ("core_cwcl_cellclip", "cwcl_a", "cwcl_b", "cwcl_dup"),
    ),
    Entry(
        ("IndividualTemperatures",),
        "useful",
        "small batches, long-tailed classes",
        ("core_isogclr_official",),
    ),
    Entry(("mochi",), "useful", "a queue whose negatives became too easy", ("core_mochi_unofficial",)),
    Entry(
        ("feature_transform",),
        "useful",
        "positives that became too easy",
        ("core_featuretransform_official",),
    ),
    Entry(("conr",), "useful", "regression targets with a long tail", ("core_conr_official",)),
    Entry(("supremix",), "useful", "regression targets whose order must show"),
    Entry(
        ("degla",), "useful", "hard captions: order, negation, direction in time", ("core_degla_official",)
    ),
    Entry(
        ("tcl", "global_local"),
        "useful",
        "structure inside each modality, noisy pairs",
        ("core_tcl_official",),
    ),
    Entry(
        ("coca",),
        "useful",
        "reports to be written as well as found; needs a decoder",
        ("core_coca_openclip",),
    ),
    Entry(("distilled_clip",), "useful", "a small model from a large one", ("core_distillclip_openclip",)),
    Entry(
        ("dcd",), "useful, later", "a cross-encoder's scores for a two-tower model", ("core_dcd_official",)
    ),
    Entry(
        ("m3col", "soft_clip"), "useful, later", "relations shared beyond the pairs", ("core_m3col_official",)
    ),
    Entry(("groco",), "useful, later", "order near the top of a ranking", ("core_groco_official",)),
    Entry(("cacr",), "useful, later", "several positives a sample", ("core_cacr_official",)),
    Entry(
        ("sepclr", "joint_entropy", "label_alignment"),
        "useful, later",
        "patients against controls",
        ("core_sepclr_official",),
    ),
)
"""From most to least needed. A public name of `core.objectives` that is not here stops the generator."""

INTRODUCTION = """\
Generated by `python docs/generate_objectives.py` from the docstrings; edit those. All functions are in
`core.objectives`: tensors in, scalar out, any float dtype (computed in float32 or float64). Rows of one
patient, scene or repository are kept out of the negatives with the group arguments. Where nothing is left to
contrast the value is 0 with zero gradient.

*Distributed* is what a rank must do, and what `core.distributed.across_ranks` does: **gather** the tensors of
all ranks (with gradient) before the call, pass `reduce` for a **statistic**, or weight a mean (**none**)."""

PROVENANCE = (
    ("_unofficial", "third-party code that was run (no official code exists)"),
    ("_reconstruction", "our own reconstruction of the formula"),
    ("_official", "the authors' code that was run"),
    ("_lightly", "lightly's code that was run"),
    ("_openclip", "open_clip's code that was run"),
    ("_monai", "MONAI's code that was run"),
    ("_cellclip", "CellCLIP's code that was run"),
    ("core_supcon", "the authors' and pytorch-metric-learning's code that was run"),
    ("core_contrastive_gap", "a transcription of public code that was run"),
    ("symile_", "the authors' code that was run"),
    ("gram_", "the authors' code that was run"),
    ("more_", "the authors' loss package that was run"),
    ("mri_global", "the authors' formula, derived anew in numpy"),
    ("cwcl_", "the formula in numpy"),
)


def evidence(vectors: tuple[str, ...]) -> str:
    """What the implementation is held to, in words."""
    if not vectors:
        return "formula from the paper; no reference numbers exist, held to a slow plain implementation"
    kinds: dict[str, list[str]] = {}
    for name in vectors:
        kind = next(words for mark, words in PROVENANCE if mark in name)
        kinds.setdefault(kind, []).append(f"`{name}`")
    return "; ".join(
        f"verified against numbers of {kind} ({', '.join(names)})" for kind, names in kinds.items()
    )


def sections(docstring: str) -> dict[str, list[str]]:
    """The lines of each section of a docstring, dedented; under "" the lines before the first one."""
    found: dict[str, list[str]] = {"": []}
    current = ""
    for line in inspect.cleandoc(docstring).splitlines():
        header = HEADER.match(line)
        if header:
            current = header.group(1)
            found[current] = [header.group(2)] if header.group(2) else []
        else:
            found[current].append(line)
    return {name: _trim(lines) for name, lines in found.items()}


def _trim(lines: list[str]) -> list[str]:
    text = inspect.cleandoc("\n".join(["", *lines])) if lines else ""
    return text.strip("\n").splitlines()


def _prose(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())


def _formula(docstring: str) -> list[str]:
    """Indented lines of the section as a text block, the others as paragraphs below it."""
    raw = inspect.cleandoc(docstring).splitlines()
    start = next(number for number, line in enumerate(raw) if line.startswith("Formula:"))
    block, prose = [], []
    for line in raw[start + 1 :]:
        if HEADER.match(line):
            break
        (block if line.startswith(" ") else prose).append(line)
    inline = raw[start].removeprefix("Formula:").strip()
    block = _trim(([inline] if inline else []) + block)
    text = ["```text", *block, "```"]
    return [*text, "", _prose(prose)] if _prose(prose) else text


def _signature(name: str) -> str:
    member = getattr(objectives, name)
    parameters = inspect.signature(member).parameters.values()
    shown = [str(parameter.replace(annotation=inspect.Parameter.empty)) for parameter in parameters]
    first = next((n for n, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if first is not None:
        shown.insert(first, "*")
    return f"{name}({', '.join(shown)})"


def _describe(name: str, entry: Entry) -> list[str]:
    member = getattr(objectives, name)
    docstring = member.__doc__ or ""
    parts = sections(docstring)
    path = member.__module__.replace(".", "/") + ".py"
    lines = [f"### {name}", "", _prose(parts[""]), "", "```python", _signature(name), "```", ""]
    if "Formula" in parts:
        lines += [*_formula(docstring), ""]
    for title in ("Use when", "Cost", "Distributed", "Used by", "Source"):
        if title in parts:
            lines.append(f"- **{title}:** {_prose(parts[title])}")
    if "Source" in parts:
        lines.append(f"- **Evidence:** {evidence(entry.vectors)}.")
    lines.append(f"- **Code:** [{path}](../{path})")
    return [*lines, ""]


def public_names() -> list[str]:
    """Functions and classes that `core.objectives` exports."""
    return sorted(
        name
        for name, member in vars(objectives).items()
        if not name.startswith("_") and (inspect.isfunction(member) or inspect.isclass(member))
    )


def module_forms() -> dict[str, str]:
    """CamelCase modules that hold the state of a function of another name: module -> function."""
    ranked = {name for entry in RANKING for name in entry.names}
    functions = {name.replace("_", "").lower(): name for name in ranked}
    return {
        name: functions[name.lower()]
        for name in public_names()
        if name not in ranked and name[0].isupper() and name.lower() in functions
    }


def page() -> str:
    """The whole page.

    Raises:
        ValueError: a public name has no line in `RANKING`, or a line names nothing public.
    """
    ranked = [name for entry in RANKING for name in entry.names]
    forms, public = module_forms(), public_names()
    if missing := sorted(set(public) - set(ranked) - set(forms)):
        raise ValueError(
            f"core.objectives exports {missing}: give each a line in RANKING ({Path(__file__).name})"
        )
    if unknown := sorted(set(ranked) - set(public)):
        raise ValueError(f"RANKING names {unknown}, which core.objectives does not export: correct the name")
    lines = [
        "# Objectives",
        "",
        *INTRODUCTION.splitlines(),
        "",
        "## Which one",
        "",
        "| rank | objective | verdict | take it for |",
        "| ---: | --- | --- | --- |",
    ]
    for number, entry in enumerate(RANKING, start=1):
        links = ", ".join(f"[{name}](#{name.lower()})" for name in entry.names)
        lines.append(f"| {number} | {links} | {entry.verdict} | {entry.reason} |")
    lines += ["", "In alphabetical order:", ""]
    lines.append(" · ".join(f"[{name}](#{name.lower()})" for name in sorted(ranked, key=str.lower)))
    if forms:
        lines += ["", "Module forms that hold a learned scale or other state:", ""]
        held = (f"`{form}` of [{name}](#{name})" for form, name in sorted(forms.items()))
        lines.append(", ".join(held) + ".")
    lines += ["", "## What each does", ""]
    for entry in RANKING:
        for name in entry.names:
            lines += _describe(name, entry)
    return "\n".join(lines).rstrip("\n") + "\n"


def main() -> int:
    """Writes or checks the page."""
    text = page()
    if "--check" in sys.argv[1:]:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        if not same:
            print(
                "docs/objectives.md is out of date: run python docs/generate_objectives.py", file=sys.stderr
            )
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
