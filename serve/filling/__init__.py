"""Collections that clients fill through `cbir+https`: what is open for them, the bodies, and the model files."""
