"""Diffusion models in fewer bits: PTQ4DM and EfficientDM, on folders of diffusers."""
