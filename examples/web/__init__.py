"""Three web backends that send what a user writes and read the answer."""
