"""Reading CT: DICOM series, NIfTI volumes, eight-bit images; public layouts and own data."""
