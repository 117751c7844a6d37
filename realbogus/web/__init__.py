"""Pages for people: drawn on the server, escaped, without anything from third parties."""
