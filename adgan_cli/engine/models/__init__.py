"""The networks, and a trained model as a file."""
