"""Pretraining for Earth observation: SoftCon, heads on few labels, maps of scenes, registration."""
