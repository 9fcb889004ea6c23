"""Contrastive objectives: pure functions, tensors in, tensor out."""

from core.objectives.contrast import contrast as contrast
