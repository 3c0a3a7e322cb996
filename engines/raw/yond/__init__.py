"""YOND: blind raw denoising with one network for every camera (Feng et al., 2025)."""
