"""Readers: films, reports, tables of public data sets and own manifests, and the linking of what belongs together."""
