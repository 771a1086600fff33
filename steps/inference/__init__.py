"""The step of the inference pipeline, and the parts of its deployment."""
