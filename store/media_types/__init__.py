"""Media types of bytes, determined by their content, within bounds, whatever a sender says.

What stays true: nothing is decoded, decompressed without a limit, or run; `examine` is the one gate. A document with
macros has another type than one without.
"""
