"""The values of a conversation: threads, messages, attachments, turns. This layer does no I/O."""
