"""Objectives, the training loop, its checkpoint, and the encoder that is trained afterwards."""
