"""Local and global contrastive pretraining for MRI segmentation."""
