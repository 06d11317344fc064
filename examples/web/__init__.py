"""Three web backends that send what a user writes, show conversations and turns, and hand out files."""
