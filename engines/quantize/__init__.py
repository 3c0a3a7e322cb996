"""Language models in fewer bits: methods, the walk through a model, exports and the runtime."""
