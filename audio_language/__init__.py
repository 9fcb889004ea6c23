"""Temporal audio-language training."""
