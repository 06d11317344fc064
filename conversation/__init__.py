"""What is said: threads, messages, attachments, turns. Pure values; this floor does no I/O."""
