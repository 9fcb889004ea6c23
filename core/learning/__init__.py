"""Training: `fit` runs a `ContrastiveModule` on batches by step, deterministic and resumable after kill -9.

Import from the modules (`core.learning.fit`, `core.learning.module`, `core.learning.sampler`): this package
imports nothing by itself, so that a stage that trains nothing does not import Lightning.
"""
