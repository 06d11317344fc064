"""Where attachments' bytes are kept: a Protocol, a local folder, an S3-compatible bucket."""
