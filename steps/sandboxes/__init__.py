"""Our flavors of ZenML's stack component Sandbox. docs/sandboxes.md has how to register them."""
