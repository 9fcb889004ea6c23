"""CT reduction: which slices to train on, and what training on them is worth."""
