"""Code search on real code: CoCoSoDa pre-training, fine-tuning, evaluation, registration."""
