"""Backend errors."""

from environment.base import UserError


class BackendError(UserError):
    """A backend cannot run as configured; the message names the cause and a remedy."""
