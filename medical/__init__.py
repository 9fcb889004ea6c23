"""Medical systems: MRI, CT, ECG, and the alignment of X-ray, ECG and report."""
