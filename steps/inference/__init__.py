"""The step of the inference pipeline, and what a deployment of it is made of."""
