"""One file for each system; found by name, imported when used."""
