"""What can be wrong with a backend before any work starts."""


class BackendError(RuntimeError):
    """A backend that cannot run as configured; the text names the cause and the way out."""
