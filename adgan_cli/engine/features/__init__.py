"""Detectors that compare an image with those trained on by features, and their joined score."""
