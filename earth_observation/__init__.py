"""Soft multi-label contrastive pretraining for Earth observation."""
