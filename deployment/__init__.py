"""Answer people's questions with a trained agent: over HTTP, as the agent works."""
