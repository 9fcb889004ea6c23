"""The trainings in their order: contrastive start, feature extractor, joint, projection, classifier, fusion."""
