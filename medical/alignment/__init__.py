"""X-ray, ECG and report in one embedding space."""
