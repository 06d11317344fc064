"""Who answers: agent, loop, model, tools. It is handed what it needs and stores nothing itself."""
