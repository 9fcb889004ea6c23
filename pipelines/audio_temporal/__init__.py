"""Sounds and sentences that know what came first: CLAP, TeminAL post-training, ZSTE, registration."""
