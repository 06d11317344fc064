"""Who answers: the agent, its loop, its model and its tools. It is handed what it needs and stores nothing."""
