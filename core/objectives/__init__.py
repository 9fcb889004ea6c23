"""Contrastive objectives: pure functions, tensors in, tensor out."""
