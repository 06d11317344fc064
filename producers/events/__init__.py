"""The events of turns, as a process follows them: one reader for each thread, however many look."""
