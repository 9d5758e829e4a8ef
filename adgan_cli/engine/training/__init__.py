"""Train a generator: objectives, the loop, checkpoints."""
