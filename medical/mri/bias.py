"""N4 correction of the bias field, where SimpleITK is installed (the extra ``n4``)."""

from __future__ import annotations

import numpy as np

from core.errors import ConfigError

LEVELS, ITERATIONS, THRESHOLD = 4, 50, 1e-3
"""As in the published preprocessing."""


def require_n4() -> None:
    """Raise ConfigError where SimpleITK is not installed: a correction that was asked for is never skipped."""
    try:
        import SimpleITK  # noqa: F401
    except ImportError:
        raise ConfigError(
            "data.bias_correction: true needs SimpleITK",
            remedy="pip install 'kindred[n4]', or set data.bias_correction: false",
        ) from None


def correct_bias(voxels: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """N4 on the whole volume (X, Y, Z), voxels and mm in one order; float32. Seconds to minutes a volume.

    Tustison et al. 2010, "N4ITK: improved N3 bias correction".
    """
    require_n4()
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels, dtype=np.float32))
    image.SetSpacing([float(mm) for mm in reversed(spacing)])
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([ITERATIONS] * LEVELS)
    corrector.SetConvergenceThreshold(THRESHOLD)
    return sitk.GetArrayFromImage(corrector.Execute(image)).astype(np.float32)
