"""Raw data to records: a package of small programs that uses only samjax.core and samjax.data."""
