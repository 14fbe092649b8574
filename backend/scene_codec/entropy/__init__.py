"""Integer symbols to bytes and back: quantisers, probability tables, range coding, rate estimates."""
