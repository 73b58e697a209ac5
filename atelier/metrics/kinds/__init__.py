"""The metrics: a file here is one, under its own name. At its top it imports nothing that loads PyTorch."""
