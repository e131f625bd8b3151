"""Sources of images: folders, tables, WebDataset shards, Hugging Face data sets and remote files."""
