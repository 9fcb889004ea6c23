"""The page `report.html`: one file that can be sent around, with its figures and thumbnails inside."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np


def render(**values: Any) -> str:
    """The HTML of ``page.html.j2`` with these values; text is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["format_count"] = lambda number: f"{number:,}"
    return environment.get_template("page.html.j2").render(**values)


def png_address(content: bytes) -> str:
    """The bytes of a PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def image_address(image: np.ndarray) -> str:
    """An (H, W) uint8 image as a data address.

    >>> image_address(np.zeros((2, 2), np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png")
    return png_address(buffer.getvalue())
