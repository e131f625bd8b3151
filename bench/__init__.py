"""Do the stores agree, and how fast is each."""
