"""The training service: durable jobs over HTTP, one worker process each, with event streams."""

VERSION = "0.1.0"
