"""API keys: their text, their rows, and how the gateway finds the row of a key that it is shown."""
