"""Kindred core: contrastive objectives, encoders and the machinery every pipeline shares. Knows no domain."""

__version__ = "0.1.0"
