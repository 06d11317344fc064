"""The parts of `threadmill dev`: a project's settings and files, its agents' workers, and what is seen of turns.

What stays true: nothing in here is needed by a worker that does not run under `threadmill dev`.
"""
