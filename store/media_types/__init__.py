"""Media types of bytes, determined by their content, within bounds, whatever a sender says.

What stays true: nothing is decoded, decompressed without a limit, or run; `examine` is the one gate. What a document may run
is found by its content, too.
"""
