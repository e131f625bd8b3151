"""The files of an embedded index: vector log, generations, checksums and stored ids. Knows no engine."""
