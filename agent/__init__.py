"""The agent layer: agents, the loop, models, tools. Its dependencies are passed in, and it stores nothing."""
