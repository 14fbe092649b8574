"""Volumes as blocks of latents, after M. Bevec, Neural volume compression (2023)."""
