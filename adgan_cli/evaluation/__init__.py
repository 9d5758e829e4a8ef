"""Section 4 of the paper: how well does it find what does not belong? Metrics so far."""
