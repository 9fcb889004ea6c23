"""ECG files of the public layouts and own manifests, as checked recordings. Import from the modules.

Nothing here imports torch: `medical.ecg.data.ptbxl` and `medical.ecg.data.recording` stand on numpy, scipy and
pandas alone.
"""
