"""Files of messages: their rows, how bytes get in, what is prepared for models, and when they go.

What stays true: a row is reserved before its bytes are put, and confirmed after; bytes go only when no
row points to them.
"""
