"""All that is remembered: threads, turns, steps, attachments, settings, migrations. SQL lives only here."""
