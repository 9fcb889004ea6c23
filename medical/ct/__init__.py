"""Dataset reduction before contrastive pretraining on CT."""
