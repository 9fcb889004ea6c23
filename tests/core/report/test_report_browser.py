"""The page in a real browser, at the widths of a desk and of a phone: nothing sticks out, nothing is missing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from core.report import build_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed: the page is not looked at"
)
# The page lies in a frame of the asked width: a window of 390 pixels is narrower than Chromium allows.
FRAME = """<!doctype html><body>
<iframe id="page" src="index.html" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="found"></pre><script>
const frame = document.getElementById("page");
frame.onload = () => {{
  const view = frame.contentDocument, images = [...view.images];
  const out = [...view.querySelectorAll("main *")].filter(one => !one.closest(".wide") || one.matches(".wide"))
    .filter(one => one.getBoundingClientRect().right > {width} + 1).map(one => one.outerHTML.slice(0, 120));
  document.getElementById("found").textContent = JSON.stringify({{
    width: view.documentElement.clientWidth, scrolls: view.documentElement.scrollWidth,
    out: out, images: images.length, broken: images.filter(one => !one.complete || !one.naturalWidth).length,
    text: view.body.innerText.length, smallest: Math.min(...images.map(one => one.getBoundingClientRect().width)),
  }});
}};
</script></body>
"""


def opened(page: Path, width: int, profile: Path) -> tuple[dict, str]:
    """What the browser says of the page at a width, and its console."""
    (page.parent / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--allow-file-access-from-files", "--enable-logging=stderr", "--virtual-time-budget=10000",
         "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", f"--window-size={width + 40},1000",
         "--dump-dom", (page.parent / "frame.html").as_uri()],
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, f"the browser said: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(found[1])), "\n".join(console)


@pytest.fixture
def crowded(write, metrics) -> Path:
    """A page with long names, wide tables, wide figures, problems and evidence."""
    from PIL import Image

    word = "pretrained_on_kept_slices_with_equal_steps/" * 4
    metrics["title"] = "A pipeline with a name that is longer than a phone is wide"
    metrics["metrics"]["hybrid"]["label"] = word
    metrics["tables"].append(
        {"title": "Wide", "columns": [f"column {n}" for n in range(14)], "rows": [[0.123456] * 13 + [word]]}
    )
    metrics["notes"] = [word]
    metrics["figures"] = [{"file": "figures/curve.png", "caption": word}, {"file": "figures/wide.png"}]
    root = write(metrics)
    Image.new("RGB", (1800, 300), "white").save(root / "outputs" / "code_search" / "figures" / "wide.png")
    folder = root / "reports" / "code_search"
    folder.mkdir(parents=True)
    arms = {f"arm {n}, {word}": {f"metric_{k}": [0.5, 0.6] for k in range(9)} for n in range(3)}
    evidence = {"claim": word, "source": "demo", "seeds": [0, 1], "arms": arms, "minutes": 1.0}
    (folder / "evidence.json").write_text(json.dumps(evidence))
    Image.new("RGB", (900, 300), "white").save(folder / "evidence.png")
    (root / "outputs" / "broken").mkdir()
    (root / "outputs" / "broken" / "metrics.json").write_text("{" + word)
    build_report(root)
    return root / "outputs" / "report" / "index.html"


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_and_is_whole(crowded, tmp_path, width):
    found, console = opened(crowded, width, tmp_path / "profile")
    assert console == ""
    assert found["width"] == width
    assert found["scrolls"] <= width, found["out"]
    assert found["out"] == []
    assert (found["images"], found["broken"]) == (3, 0)
    assert found["smallest"] > 200
    assert found["text"] > 500
