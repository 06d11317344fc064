"""Turns from the inbox to their end: send, claim, journal, settle, cancel, requeue, sweep.

What stays true: whoever writes for a turn has locked its thread's row with the newest fencing token.
"""
