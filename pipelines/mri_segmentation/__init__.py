"""MRI segmentation with few labels: global and local contrastive pretraining, fine-tuning, evaluation, registration."""
