"""Natural-language code search trained with soft data augmentation and momentum contrast (CoCoSoDa)."""
