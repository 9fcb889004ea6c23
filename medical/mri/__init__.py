"""Segmentation of MR volumes with few labels: global and local contrastive pretraining (Chaitanya et al., 2020).

Import from the modules: a stage then depends on what it uses, and on no more.
"""
