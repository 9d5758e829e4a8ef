"""adgan: find the pictures in a folder that do not belong there, without labels."""

__version__ = "0.1.0"
