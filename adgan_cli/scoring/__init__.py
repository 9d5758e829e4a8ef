"""A run over images: search, journal, calibration, one row an image."""
