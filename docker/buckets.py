"""Makes the buckets named on the command line in the S3 store of the AWS_* variables, unless they are there."""

from __future__ import annotations

import sys

import boto3


def main(names: list[str]) -> None:
    """Raises what boto3 raises; whoever runs it tries again."""
    client = boto3.client("s3")
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)


if __name__ == "__main__":
    main(sys.argv[1:])
