"""PNNP: the noise of one camera learned from its dark frames alone."""
