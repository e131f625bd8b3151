"""Images: decoding, orientation, thumbnails and preprocessing."""
