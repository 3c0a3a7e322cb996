"""UPSR: uncertainty-guided perturbation for super-resolution (CVPR 2025)."""
