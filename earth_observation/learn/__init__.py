"""Trainings: SoftCon and its baselines, the heads on few labels, hyper-pixel contrast for landslides."""
