"""X-ray, ECG and report in one space: MoRE and its rivals, with any modality missing."""
