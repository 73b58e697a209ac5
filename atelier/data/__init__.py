"""Images: sources -> packed shards + manifest -> batches.

sources/     where images come from, one file per kind
fields.py    the fields of a record as the settings name them
process.py   one record -> the pixels of the packed set
work.py      processing in many processes
pack.py      a source -> a packed dataset, at once or in parts that are merged
parts.py     one part: the processed images of a share of the source
pixels.py    processed images in files, read by row
arrange.py   order, duplicates, labels and split
shards.py    the tar layout and its writer
manifest.py  what a packed dataset says about itself
packed.py    a packed dataset -> records by index
images.py    what is asked of images by index;  image_files.py: the files of a folder or a zip as such
sampler.py   the order of images, a pure function of (seed, position)
"""
