"""Archives and compressed files: lists of what is in them.

What stays true: the files of an archive are named and never unpacked; what has to be unpacked for that is bounded.
"""
