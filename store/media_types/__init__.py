"""What bytes are: told by their content, within bounds, whatever a sender says of them.

What stays true: nothing is decoded, decompressed without a limit, or run; `examine` is the one gate.
"""
