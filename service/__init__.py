"""The training service: durable jobs over HTTP, one worker process each, with a stream of events."""

VERSION = "0.1.0"
