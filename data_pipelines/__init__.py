"""Raw data to records: an importable package of small programs, above samjax.core and samjax.data alone."""
