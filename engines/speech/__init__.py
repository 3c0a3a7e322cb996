"""Speech enhancement: SGMSE+ and StoRM, and the small networks that ship."""
