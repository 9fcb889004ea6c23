"""Lightning base module, callbacks, determinism and resume."""
