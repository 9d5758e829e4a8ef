"""PyTorch, silent: device, networks, objectives, training, losses, search, model file."""
