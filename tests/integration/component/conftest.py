"""Fixtures of the small pipeline, and of the S3 server that can be stopped."""

from tests.support.s3_server import store
from tests.support.small import images, quiet, workspace

__all__ = ["images", "quiet", "store", "workspace"]
