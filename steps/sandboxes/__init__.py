"""Our flavors of ZenML's stack component Sandbox; see docs/sandboxes.md for their registration."""
