"""RED-Diff: inverse problems solved with a diffusion prior (Mardani et al., ICLR 2024)."""
