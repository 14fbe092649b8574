"""What the codecs of radiance fields share: weights of networks as integers and as bytes."""
