"""Retrieval metrics, probes, bootstrap intervals, collapse diagnostics."""
