"""HTTP: listeners, routes and what they answer."""
