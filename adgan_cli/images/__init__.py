"""A folder becomes pixels. What happens to an image, file by file:

1. find.py lists it (walk.py, selection.py) as an ImageRef (refs.py), also inside archives.py's.
2. reader.py reads many, in threads and through the cache (cache.py); read.py reads one:
3. open_image.py identifies the file (formats.py), refuses thumbnails (camera_raw.py) and leaves out
   what keeps Pillow from reading it (mending.py); decode.py decodes it, within the memory that all
   threads share (memory.py); depth.py makes 8 bits of more, by the range of the set
   (value_ranges.py); transform.py turns it upright, cuts, resizes and settles its colours.
4. pixels.py gathers a set in one array, and variety.py tells whether there is anything to learn
   from. scan.py counts, statistics.py measures, encode.py writes.
"""
