"""ECG prototypes: joint training, projection, fusion, black box, evaluation, registration."""
