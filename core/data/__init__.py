"""Manifests, group splits, checks with quarantine, content digests, map-style work in parallel.

Import from the modules: a stage then depends on what it uses, and on no more.
"""
