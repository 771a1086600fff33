"""What both HTTP servers share: the guard, server-sent events, and the pages' files."""
