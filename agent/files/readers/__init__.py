"""The readers, one for each kind of file, which run in a child process: see `agent/files/extract_worker.py`.

What stays true: nothing here is imported by the process that runs turns.
"""
