"""Prototype networks for multi-label ECG."""
