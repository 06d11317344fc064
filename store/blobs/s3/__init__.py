"""Blobs in a bucket of an S3-compatible server.

What stays true: boto3 is imported with the first client, not with this package.
"""
