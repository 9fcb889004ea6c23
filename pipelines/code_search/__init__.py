"""Stages of the code search pipeline."""
