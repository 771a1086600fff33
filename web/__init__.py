"""What the training service and a deployment share: guards, server-sent events, pages."""
