"""Computed tomography: which slices of a data set to train on, and what training on them is worth."""
