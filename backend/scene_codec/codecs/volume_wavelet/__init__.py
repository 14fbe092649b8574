"""The default codec for volumes: a wavelet, a prior in integer arithmetic, range coding, tile by tile."""
