"""Probability tables for the many small groups of symbols of a volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.parametric_fit import fit_parametric
from scene_codec.entropy.tables import SymbolTable, histogram_of


def fitted_table(symbols: NDArray[np.integer]) -> SymbolTable:
    """Return a parametric table for symbols.

    Stored histograms, the alternative, make files smaller by at most 0.2 % and take three times as long.
    """
    return fit_parametric(*histogram_of(symbols)).table()
