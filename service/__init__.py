"""Train agents over HTTP: durable jobs, one worker process each, and a stream of what they do."""

VERSION = "0.1.0"
