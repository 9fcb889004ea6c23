"""Batches with gaps, and the training of the space."""
