"""A folder becomes pixels. What happens to an image, file by file:

1. find.py lists it (walk.py, selection.py) as an ImageRef (refs.py), also inside archives.py's.
2. reader.py reads many, in threads and through the cache (cache.py); read.py reads one:
3. open_image.py identifies the file (formats.py), decode.py decodes it, depth.py makes 8 bits of
   more, transform.py turns it upright, cuts, resizes and settles its colours.
4. pixels.py gathers a set in one array. scan.py counts, statistics.py measures, encode.py writes.
"""
