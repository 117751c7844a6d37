"""What training found out, as self-contained web pages: no other file, no script and no network."""
