"""The shop's own agent: whoever else reads this is in the wrong place."""

raise RuntimeError("the shop's agent was read")
