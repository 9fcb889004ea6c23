"""Prototype branches, their fusion, the black box with the same backbones, and the folders they are kept in."""
