"""What can be wrong with a backend before any work starts."""

from environment.base import UserError


class BackendError(UserError):
    """A backend that cannot run as configured; the text names the cause and the way out."""
