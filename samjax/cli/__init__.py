"""The `samjax` command: one small file a subcommand."""
