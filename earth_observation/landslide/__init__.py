"""HPCL-Net: colour and terrain together, for scars that are hard to see in either. A recipe of its own.

After Zhou et al. 2023, "A multi-source data fusion-based semantic segmentation model for relic landslide
detection"; a reconstruction from its abstract.
"""
