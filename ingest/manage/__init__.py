"""Commands on what is stored: collections, transfer, snapshots, edits."""
