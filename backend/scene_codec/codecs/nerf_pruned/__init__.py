"""Radiance networks made small by pruning, quantisation against the rate, and distillation."""
