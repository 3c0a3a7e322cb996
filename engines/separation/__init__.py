"""Sound separation by a query: CLIPSep, its noise-invariant variant, and the one that ships."""
