"""Network modules alone: no files, no training loops."""
