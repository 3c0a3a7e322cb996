"""Sound separation by a query: CLIPSep, its noise-invariant training, and the network that ships."""
