"""Draws docs/images/overview.png from figures of the pipelines: `make repro`, then `python docs/draw_overview.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
WIDTH, GAP, TITLE = 1400, 24, 34
ROWS = (
    (
        ("MRI: structures found in a test patient", "mri_segmentation", "overlays.png", (0, 0.03, 1, 0.335)),
        ("Earth observation: a scene and its map", "eo_pretraining", "scene/scene_quicklook.png", None),
    ),
    (
        ("Audio: what sounds when", "audio_temporal", "timeline.png", None),
        ("ECG: a decision, and a patient it rests on", "ecg_prototypes", "case_1.png", None),
    ),
    (
        ("X-ray and report: where a phrase points", "xray_ecg_report", "phrases.png", None),
        ("CT: slices kept, and slices they stand for", "ct_reduction", "gallery.png", (0, 0, 1, 0.5)),
    ),
    (
        (
            "Code search: variables of the right answer renamed",
            "code_search",
            "robustness.png",
            (0, 0, 1, 0.535),
        ),
    ),
)
"""Title, pipeline, figure in its evaluation folder, and the part of it that is shown (left, top, right, bottom)."""


def main() -> int:
    """One picture of all pipelines; 1 when a figure is missing."""
    found = [
        [(title, ROOT / "outputs" / name / "evaluation" / file, part) for title, name, file, part in row]
        for row in ROWS
    ]
    missing = [str(path.relative_to(ROOT)) for row in found for _, path, _ in row if not path.is_file()]
    if missing:
        print(f"missing: {', '.join(missing)}; run `make repro` first", file=sys.stderr)
        return 1
    strips = [draw_row([(title, load(path, part)) for title, path, part in row]) for row in found]
    picture = Image.new("RGB", (WIDTH, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        picture.paste(strip, (0, top))
        top += strip.height
    target = ROOT / "docs" / "images" / "overview.png"
    picture.quantize(256).save(target, optimize=True)
    print(target.relative_to(ROOT))
    return 0


def load(path: Path, part: tuple[float, float, float, float] | None) -> Image.Image:
    """A figure, or the part of it."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if part is None:
        return image
    left, top, right, bottom = part
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round(right * width), round(bottom * height))
    )


def draw_row(panels: list[tuple[str, Image.Image]]) -> Image.Image:
    """Panels side by side at one height, each under its title; a single one is not made larger than the others."""
    shapes = [image.width / image.height for _, image in panels]
    room = WIDTH - GAP * (len(panels) + 1)
    height = min(round(room / sum(shapes)), 300)
    strip = Image.new("RGB", (WIDTH, height + TITLE + GAP), "white")
    draw = ImageDraw.Draw(strip)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 19)
    left = (WIDTH - round(height * sum(shapes)) - GAP * (len(panels) - 1)) // 2
    for (title, image), shape in zip(panels, shapes, strict=True):
        width = round(height * shape)
        draw.text((left, 6), title, fill="#1b2330", font=font)
        strip.paste(image.resize((width, height), Image.Resampling.LANCZOS), (left, TITLE))
        left += width + GAP
    return strip


if __name__ == "__main__":
    raise SystemExit(main())
