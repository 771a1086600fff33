"""Shared by both HTTP servers, training service and deployment: guards, server-sent events, pages."""
