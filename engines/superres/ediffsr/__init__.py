"""EDiffSR: a mean-reverting diffusion for pictures of the earth (TGRS 2024)."""
