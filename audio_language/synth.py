"""Synthetic sound events: two dozen classes that differ as everyday sounds do, each take drawn anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Maker = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""(times in seconds, generator) -> samples, peak near 1."""


def event(name: str, rate: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """One take of a class as (samples,) float32 in -0.9..0.9, with background noise and a level of its own.

    >>> event("church_bell", 8000, 0.5, np.random.default_rng(0)).shape
    (4000,)
    """
    t = np.arange(round(seconds * rate)) / rate
    wave = CLASSES[name](t, rng)
    wave = wave / max(np.abs(wave).max(), 1e-6)
    edge = np.minimum(1, np.minimum(t, t[-1] - t) / 0.01)
    noise = rng.standard_normal(len(t)) * 10 ** rng.uniform(-3.0, -2.0)
    return (edge * (wave * rng.uniform(0.3, 0.85) + noise)).clip(-0.9, 0.9).astype(np.float32)


def _tone(t: np.ndarray, hertz: np.ndarray | float) -> np.ndarray:
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(hertz, t.shape)) * (t[1] - t[0]))


def _buzz(t: np.ndarray, hertz: np.ndarray | float, partials: int) -> np.ndarray:
    return np.sum([_tone(t, np.asarray(hertz) * k) / k for k in range(1, partials + 1)], axis=0)


def _band(t: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Noise between two frequencies."""
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    hertz = np.fft.rfftfreq(len(t), t[1] - t[0])
    spectrum[(hertz < low) | (hertz > high)] = 0
    wave = np.fft.irfft(spectrum, len(t))
    return wave / max(np.abs(wave).max(), 1e-9)


def _strokes(t: np.ndarray, starts: np.ndarray, decay: float) -> np.ndarray:
    """An envelope that jumps to 1 at each start and decays."""
    out = np.zeros_like(t)
    for start in starts:
        after = t >= start
        out[after] += np.exp(-(t[after] - start) / decay)
    return out


def _steps(t: np.ndarray, rng: np.random.Generator, gap: float) -> np.ndarray:
    gap *= rng.uniform(0.85, 1.15)
    return np.arange(rng.uniform(0, gap), t[-1], gap)


def _random_times(t: np.ndarray, rng: np.random.Generator, per_second: float) -> np.ndarray:
    return np.sort(rng.uniform(0, t[-1], max(2, rng.poisson(per_second * t[-1]))))


def _dog(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = _steps(t, rng, 0.42)
    pitch = rng.uniform(330, 420) * (1 - 0.35 * ((t - starts[0]) % 0.42))
    return _strokes(t, starts, 0.06) * (_buzz(t, pitch, 6) + 0.4 * _band(t, rng, 500, 2500))


def _siren(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _buzz(t, 950 + 380 * np.sin(2 * np.pi * rng.uniform(1.4, 1.9) * t + rng.uniform(0, 6.28)), 3)


def _rain(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _band(t, rng, rng.uniform(900, 1200), 6500)


def _clock(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _strokes(t, _steps(t, rng, 0.25), 0.006) * _band(t, rng, 2500, 4500)


def _bell(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base = rng.uniform(560, 660)
    return np.sum([_tone(t, base * k) * np.exp(-t * k) for k in (1, 2.0, 2.76, 5.4)], axis=0)


def _engine(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rise = rng.uniform(70, 85) * (1 + 0.25 * t)
    return _buzz(t, rise, 14) + 0.2 * _band(t, rng, 60, 500)


def _helicopter(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _strokes(t, _steps(t, rng, 0.083), 0.02) * _band(t, rng, 60, 900)


def _bird(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = _steps(t, rng, 0.2)
    sweep = 3600 + 900 * np.sin(2 * np.pi * rng.uniform(16, 22) * t)
    return _strokes(t, starts, 0.05) * _tone(t, sweep)


def _wind(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _band(t, rng, 150, 700) * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.6, 1.2) * t))


def _thunder(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _strokes(t, np.array([rng.uniform(0, 0.15)]), 0.3) * _band(t, rng, 25, 220)


def _drip(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = _steps(t, rng, 0.33)
    return _strokes(t, starts, 0.025) * _tone(
        t, rng.uniform(1250, 1500) * (1 + 1.5 * ((t - starts[0]) % 0.33))
    )


def _phone(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ring = (np.sin(2 * np.pi * rng.uniform(18, 22) * t) > 0).astype(float)
    base = rng.uniform(1900, 2100)
    return ring * (_tone(t, base) + _tone(t, base * 1.22))


def _horn(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base = rng.uniform(390, 420)
    return _buzz(t, base, 9) + _buzz(t, base * 1.26, 9)


def _whistle(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _tone(t, rng.uniform(2500, 2700) + 60 * np.sin(2 * np.pi * 6 * t))


def _guitar(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base = rng.uniform(180, 215)
    return _strokes(t, np.array([0.02, 0.4]), 0.25) * _buzz(t, base, 7)


def _crackle(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _strokes(t, _random_times(t, rng, 45), 0.003) * _band(t, rng, 1500, 7000)


def _snake(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _band(t, rng, 5000, 7800) * (0.75 + 0.25 * np.sin(2 * np.pi * 3 * t + rng.uniform(0, 6)))


def _heart(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = _steps(t, rng, 0.5)
    return _strokes(t, np.concatenate([starts, starts + 0.16]), 0.05) * _tone(t, rng.uniform(55, 70))


def _glass(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    parts = np.sum([_tone(t, hertz) for hertz in rng.uniform(3500, 7500, 8)], axis=0)
    return _strokes(t, np.array([0.05]), 0.18) * (parts + 3 * _band(t, rng, 3000, 7800))


def _saw(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (1 + np.sin(2 * np.pi * rng.uniform(3.5, 4.5) * t)) * _band(t, rng, 1200, 3200)


def _cow(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shape = np.sin(np.pi * np.clip(t / t[-1], 0, 1)) ** 0.5
    return shape * _buzz(t, rng.uniform(130, 150) * (1 + 0.15 * np.sin(np.pi * t / t[-1])), 10)


def _frog(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pulses = (np.sin(2 * np.pi * rng.uniform(38, 46) * t) > 0.3).astype(float)
    return _strokes(t, _steps(t, rng, 0.45), 0.12) * pulses * _buzz(t, rng.uniform(750, 850), 3)


def _keys(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _strokes(t, _random_times(t, rng, 9), 0.012) * _band(t, rng, 500, 1600)


def _alarm(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    low = rng.uniform(1450, 1550)
    return _buzz(t, np.where((t * 5 + rng.uniform(0, 1)) % 1 < 0.5, low, low * 1.35), 2)


CLASSES: dict[str, Maker] = {
    "dog": _dog,
    "siren": _siren,
    "rain": _rain,
    "clock_tick": _clock,
    "church_bell": _bell,
    "engine": _engine,
    "helicopter": _helicopter,
    "bird": _bird,
    "wind": _wind,
    "thunder": _thunder,
    "water_drip": _drip,
    "phone": _phone,
    "car_horn": _horn,
    "whistle": _whistle,
    "guitar": _guitar,
    "crackling_fire": _crackle,
    "snake": _snake,
    "heartbeat": _heart,
    "breaking_glass": _glass,
    "hand_saw": _saw,
    "cow": _cow,
    "frog": _frog,
    "keyboard_typing": _keys,
    "alarm": _alarm,
}
"""Class -> how one take of it is made."""
