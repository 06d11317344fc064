"""The straight road to providers: over one HTTP client, in OpenAI's format and in Anthropic's."""
