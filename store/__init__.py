"""What is remembered: threads, turns, steps, attachments, settings and migrations. SQL lives only here."""
