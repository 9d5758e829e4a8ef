"""A folder becomes pixels: find the files, read one picture, load many. No torch here."""
