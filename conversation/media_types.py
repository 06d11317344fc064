"""Media types that more than one layer speaks of.

What stays true: `IMAGE_TYPES` are the pictures that models take and that browsers show without running
a program; whoever needs fewer or more says so beside it.
"""

#: The type of bytes of no known type.
UNKNOWN_TYPE = "application/octet-stream"
IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
#: Behind the type of a document whose format has no type of its own for one with macros.
MACRO_SUFFIX = ".macroenabled"
