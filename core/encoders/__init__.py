"""Encoders for images, signals, text and audio."""
