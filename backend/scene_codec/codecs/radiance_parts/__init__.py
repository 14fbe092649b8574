"""What the codecs of radiance fields share: one field after the other, weights as integers and as bytes."""
