"""What file systems and file formats have in common."""
