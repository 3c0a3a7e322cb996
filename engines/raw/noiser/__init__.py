"""NoiSER: brightening learned from noise alone (Zhang et al. 2022)."""
