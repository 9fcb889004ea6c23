"""Manifests, group splits, checks with quarantine, content digests."""
