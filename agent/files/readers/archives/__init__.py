"""Archives and compressed files: lists of what is in them.

What stays true: nothing is unpacked to a disk, and no more in memory than its limits allow.
"""
