"""Sentences about a document, whatever its format. What stays true: the same thing is told in the same words."""

CHANGES = "The document has tracked changes; the text is as if they were accepted."
HIDDEN = "The document has hidden text, which its readers do not see; it is not shown."
FAINT = "Some of the text is white or tiny, so that readers of the document may not see it."
#: What is said of a file with parts that are no whole XML.
BROKEN = "Parts of the file are damaged; what could be read of them is shown."
HIDDEN_SLIDES = "Slides that are hidden in the show are shown here, and marked."
