"""Training: CoCoSoDa's momentum contrast with soft augmentations, and the fine-tuning after it."""
