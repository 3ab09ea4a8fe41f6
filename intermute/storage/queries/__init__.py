"""What can be asked of a project's file, by noun; `intermute.storage.reader` joins them."""
