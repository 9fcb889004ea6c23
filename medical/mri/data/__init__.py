"""Readers of the public layouts and of own data, NIfTI files, and the checks of every volume.

Import from the modules: a stage then depends on what it uses, and on no more.
"""
