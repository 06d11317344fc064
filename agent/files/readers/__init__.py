"""What reads one kind of file each, in a child process: see `agent/files/extract_worker.py`.

What stays true: nothing here is imported by the process that runs turns.
"""
