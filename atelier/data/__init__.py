"""Images: sources -> packed shards + manifest -> batches.

sources/     where images come from, one file per kind
process.py   one image -> the pixels of the packed set
work.py      processing in many processes
pack.py      a source -> a packed dataset
arrange.py   order, duplicates, labels and split
shards.py    the tar layout and its writer
manifest.py  what a packed dataset says about itself
packed.py    a packed dataset -> images by index
sampler.py   the order of images, a pure function of (seed, position)
"""
