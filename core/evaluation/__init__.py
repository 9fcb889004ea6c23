"""Retrieval metrics, probes, zero-shot scores, intervals, collapse diagnostics, evidence over seeds.

Import from the modules: a stage then depends on what it uses, and on no more.
"""
