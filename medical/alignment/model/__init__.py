"""The three towers, LoRA in the text tower, and the folder that holds a trained space."""
