"""What SQL systems have in common."""
