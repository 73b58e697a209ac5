"""Fixtures of the small pipeline, and of the S3 server that can be stopped."""

from s3_server import store
from small import images, quiet, workspace

__all__ = ["images", "quiet", "store", "workspace"]
