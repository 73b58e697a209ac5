"""Marks of origin: what every image that leaves says of itself, who signs that, and what the marks of any file say."""
