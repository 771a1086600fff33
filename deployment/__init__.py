"""Answer questions with a trained agent over HTTP, streaming its steps."""
