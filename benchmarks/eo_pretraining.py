"""Earth observation: patches a second from GeoTIFFs, beside torchgeo where it is installed, and a whole large scene.

    python benchmarks/eo_pretraining.py [--side 10000] [--backbone vit | resnet] [--scene-only | --loader-only]

torchgeo is not among the dependencies: without it the loader is measured alone. It pins versions of its own, so it goes
into a second environment, in which the whole script is run:

    python -m venv /tmp/torchgeo && /tmp/torchgeo/bin/pip install -r requirements.lock -e . torchgeo
    /tmp/torchgeo/bin/python benchmarks/eo_pretraining.py

The scene is mapped by a small untrained model in a process of its own, whose peak memory is what the operating system
says. ``--backbone`` says which model; both are measured where it is left out. A ResNet loads MONAI's networks, a ViT
does not.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

BANDS = ("B2", "B3", "B4", "B8")
PATCH, STRIDE = 128, 128
BACKBONES: dict[str, dict[str, object]] = {
    "resnet": {"backbone": "resnet", "widths": [16, 32, 64, 96], "blocks": [1, 1, 1, 1], "small": False},
    "vit": {"backbone": "vit", "patch": 8, "dim": 96, "depth": 4, "heads": 4},
}
"""Those of the pipeline's default settings, and of the ResNet that its evidence compares."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--loader-side", type=int, default=4096)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--backbone", choices=sorted(BACKBONES), help="of the scene's model; both by default")
    parser.add_argument("--scene-only", action="store_true")
    parser.add_argument("--loader-only", action="store_true")
    parser.add_argument("--map", nargs=3, metavar=("MODEL", "SCENE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.map:
        map_once(*options.map)
        return
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {versions()}")
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as scratch:
        if not options.scene_only:
            loaders(Path(scratch), options.loader_side, options.repeat)
        if not options.loader_only:
            scene = write_scene(Path(scratch) / "large.tif", options.side)
            for backbone in [options.backbone] if options.backbone else sorted(BACKBONES):
                whole_scene(Path(scratch), scene, options.side, backbone)


def versions() -> str:
    """The versions that matter."""
    from importlib import metadata

    found = []
    for name in ("torch", "rasterio", "torchgeo"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


def write_scene(path: Path, side: int) -> Path:
    """Four bands of uint16, tiled and deflated, written by strips."""
    import rasterio
    from affine import Affine
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    with rasterio.open(
        path, "w", driver="GTiff", count=4, height=side, width=side, dtype="uint16", crs="EPSG:32631",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), tiled=True, blockxsize=512, blockysize=512,
        compress="deflate", nodata=0,
    ) as out:  # fmt: skip
        out.descriptions = BANDS
        for row in range(0, side, 512):
            height = min(512, side - row)
            coarse = rng.integers(300, 3000, (4, height // 16 + 1, side // 16 + 1)).astype(np.uint16)
            block = np.repeat(np.repeat(coarse, 16, axis=1), 16, axis=2)[:, :height, :side]
            out.write(block, window=Window(0, row, side, height))
    return path


def loaders(folder: Path, side: int, repeat: int) -> None:
    """Patches a second over the same file, interleaved, medians."""
    home = folder / "loader"
    home.mkdir()
    scene = write_scene(home / "scene.tif", side)
    contenders: dict[str, Callable[[], int]] = {"kindred grid_patches": lambda: sum(1 for _ in ours(scene))}
    try:
        import torchgeo  # noqa: F401

        contenders["torchgeo GridGeoSampler + RasterDataset"] = lambda: sum(1 for _ in theirs(home))
    except ImportError:
        print("torchgeo is not installed: nothing to compare with")
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeat):
        for name, run in contenders.items():
            start = time.perf_counter()
            count = run()
            rates[name].append(count / (time.perf_counter() - start))
    print(f"\n{side} x {side} x 4 uint16, patches of {PATCH}, medians of {repeat}:")
    for name, values in rates.items():
        print(f"  {name:42s} {np.median(values):9.1f} patches/s  {[round(v) for v in values]}")


def ours(scene: Path) -> Iterator[np.ndarray]:
    """Every patch of the grid, as a training would read them."""
    from earth_observation.bands import Sensor
    from earth_observation.data.raster import RasterStack, grid_patches

    stack = RasterStack([scene], Sensor("bench", BANDS, "dn", (10.0,) * 4))
    for x, _, _ in grid_patches(stack, PATCH, STRIDE):
        yield x
    stack.close()


def theirs(folder: Path) -> Iterator[object]:
    """The same patches by torchgeo."""
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler, Units

    class Scenes(RasterDataset):
        filename_glob = "*.tif"
        is_image = True

    data = Scenes(str(folder))
    sampler = GridGeoSampler(data, size=PATCH, stride=STRIDE, units=Units.PIXELS)
    for batch in DataLoader(data, sampler=sampler, batch_size=16, collate_fn=stack_samples):
        yield from batch["image"]


def whole_scene(folder: Path, scene: Path, side: int, backbone: str) -> None:
    """Seconds and peak memory of mapping one scene in a fresh process."""
    from earth_observation.bands import Sensor
    from earth_observation.labels import DYNAMIC_WORLD
    from earth_observation.model import LandCover
    from earth_observation.normalise import Normalisation

    sensor = Sensor("bench", BANDS, "dn", (10.0,) * 4)
    normalisation = Normalisation("bench", BANDS, (1500.0,) * 4, (800.0,) * 4)
    model = LandCover(
        BACKBONES[backbone], sensor, normalisation, DYNAMIC_WORLD, size=256, heads=("decoder",), width=8
    )
    model.eval().save(folder / backbone)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--map", str(folder / backbone), str(scene), str(folder / "maps")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    print(
        f"\nmap of {side} x {side} x 4 by a {backbone}: {time.perf_counter() - start:.0f} s, {done.stdout.strip()}"
    )


def map_once(model: str, scene: str, out: str) -> None:
    """Map, and say how much memory it took at most."""
    import torch

    from earth_observation.scene import Tiling, map_scene

    torch.set_num_threads(2)
    report = map_scene(model, [scene], out, tiling=Tiling(256, 224, 4), scale="dn", quicklook=False)
    print(f"peak {peak_mib():.0f} MiB, {report['known_share']:.0%} of the pixels known")


def peak_mib() -> float:
    """The most memory that this program held; what getrusage says counts that of the starting process too on Linux."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
