"""Pretraining by SimCLR, MoCo v2 or SwAV, and fine-tuning on slice labels."""
