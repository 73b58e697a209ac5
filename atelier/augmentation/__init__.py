"""Generated images for the training of another model: balanced sets, and a study of whether they help a classifier."""
