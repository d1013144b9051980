"""The revisions, one file each, numbered on; what a release has shipped is never changed."""
