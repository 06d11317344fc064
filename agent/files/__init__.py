"""Files as an agent sees them: the text that a reader extracts, and how much of it a request may hold.

What stays true: a file is read in a child process under limits, never in the process that runs turns.
"""
