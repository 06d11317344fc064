"""Files as an agent sees them: what a reader extracts from them, and how much of it a request has room for.

What stays true: a file is read in a child process under limits, never in the process that runs turns.
"""
